"""How far a chain of entry points has come, read from the correlation id of its events."""

import pytest

from gatewayd.core.chains import MAX_HOPS, link_of, next_link


def test_each_hop_is_counted_until_the_end() -> None:
    link: str | None = "order-7"
    seen = []
    while link is not None:
        seen.append(link)
        link = next_link(link)

    assert seen == ["order-7", *(f"order-7~{hop}" for hop in range(1, MAX_HOPS + 1))]
    assert {link_of(one)[0] for one in seen} == {"order-7"}


def test_what_has_no_correlation_begins_a_chain_of_its_own() -> None:
    assert next_link("") == ""


@pytest.mark.parametrize("chosen", ["a~0", "a~33", "a~100", "a~07", "~3", "a~b", "a~3~", "a~٣"])
def test_an_id_that_only_looks_like_a_link_is_one_of_its_own(chosen: str) -> None:
    assert link_of(chosen) == (chosen, 0)
    assert next_link(chosen) == f"{chosen}~1"
