"""Pages and their tokens."""

import base64

import pytest

from gatewayd.core.errors import InvalidArgument
from gatewayd.rpc.paging import MAX_READS, cut, gather, moment_place, page_of


def test_sizes_have_a_default_and_a_bound():
    assert [page_of(size, "", "List").size for size in (0, 1, 1000, 5000)] == [100, 1, 1000, 1000]
    with pytest.raises(InvalidArgument) as caught:
        page_of(-1, "", "List")
    assert caught.value.violations[0].field == "page_size"


def test_a_token_leads_on_only_in_the_list_that_gave_it():
    token = page_of(10, "", "List", "tg").next("row 5")
    assert page_of(10, token, "List", "tg").place == "row 5"
    for other in (("List", "slack"), ("Other", "tg"), ("List",)):
        with pytest.raises(InvalidArgument) as caught:
            page_of(10, token, *other)
        assert caught.value.violations[0].field == "page_token"


@pytest.mark.parametrize("token", ["x", "é", "A" * 5000, "====", base64.urlsafe_b64encode(b"\xff" * 20).decode()])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(InvalidArgument):
        page_of(10, token, "List")


def test_a_forged_place_is_refused_and_not_believed():
    page = page_of(10, "", "List")
    forged = page_of(10, page.next("1 OR 1"), "List")
    with pytest.raises(InvalidArgument):
        _ = forged.number
    with pytest.raises(InvalidArgument):
        _ = page_of(10, page.next("late row"), "List").moment


def test_a_moment_is_exact():
    page = page_of(10, "", "List")
    assert page.moment is None
    assert page_of(10, page.next(moment_place(0.1 + 0.2, "s 1")), "List").moment == (0.1 + 0.2, "s 1")


async def read_all(rows, size, keep):
    async def read(place, limit):
        return [row for row in rows if row > place][:limit]

    seen, token, calls = [], "", 0
    while True:
        calls += 1
        found, token = await gather(read, str, page_of(size, token, "List"), keep)
        assert len(found) <= size
        seen += found
        if not token:
            return seen, calls


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 100])
async def test_pages_together_are_the_list(size):
    rows = [f"{number:03}" for number in range(10)]
    seen, calls = await read_all(rows, size, lambda _row: True)
    assert seen == rows
    assert calls == -(-10 // size)


async def test_what_may_not_be_seen_is_passed_over_and_ends_a_page_early_at_last():
    rows = [f"{number:05}" for number in range(500)]
    seen, calls = await read_all(rows, 5, lambda row: row.endswith("99"))
    assert seen == [row for row in rows if row.endswith("99")]
    assert 1 < calls <= 500 / (MAX_READS * 6) + 2


def test_a_list_in_memory_is_cut_by_its_keys():
    rows = ["c", "a", "e", "b", "d"]
    first, token = cut(rows, str, page_of(2, "", "List"))
    second, token = cut(rows, str, page_of(2, token, "List"))
    third, token = cut(rows, str, page_of(2, token, "List"))
    assert (first, second, third, token) == (["a", "b"], ["c", "d"], ["e"], "")
