"""The door of webhooks with a store of the test's own: what is said when it cannot write, and what is counted."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig, GatewaySection
from gatewayd.config.problems import dotted
from gatewayd.core.clock import SystemRandomness
from gatewayd.core.errors import GatewayError, StoreBusy, StoreFailed, StoreFull
from gatewayd.core.event import Event
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.core.ids import IdSource
from gatewayd.core.secret import Secret
from gatewayd.http.webhooks.door import COMMIT_LIMIT, TELL_EVERY, WebhookDoor
from gatewayd.http.webhooks.routes import table_of
from gatewayd.storage.base import Store
from gatewayd.storage.records import LogState, Published
from gatewayd.testing.fakes import FakeClock
from tests.rigs.webhooks import SECRET, github


class Log:
    """A store that writes when the test lets it; what was appended is known by its id."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.error: GatewayError | None = None
        self.waiting: list[tuple[asyncio.Future[list[Event]], Event]] = []
        self.stalled = False

    @property
    def log(self) -> LogState:
        return LogState("epoch", 1, len(self.events))

    def append(self, published: list[Published], *, scope: str) -> "asyncio.Future[list[Event]]":
        assert scope == "webhook:repo"
        receipt: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            receipt.set_exception(self.error)
        else:
            self.waiting.append((receipt, published[0].event))
            if not self.stalled:
                self.write()
        return receipt

    def write(self) -> None:
        for receipt, event in self.waiting:
            if event.id not in self.events:
                self.events.append(event.id)
            receipt.set_result([event.stamped("epoch", self.events.index(event.id) + 1)])
        self.waiting.clear()


class Rig:
    """A door with one webhook."""

    def __init__(self, **more: Any) -> None:
        self.log = Log()
        self.clock = FakeClock()
        section = read(GatewaySection, {})
        self.door = WebhookDoor(
            store=cast(Store, self.log),
            clock=self.clock,
            ids=IdSource(self.clock, SystemRandomness()),
            settings=lambda: section,
        )
        config = {"webhooks": {"repo": {"path": "/hook", "secret": Secret(SECRET), **more}}}
        self.door.use(table_of(read(GatewayConfig, config), {}))

    async def send(
        self, body: bytes = b"{}", delivery: str = "d", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        signed = github(body, delivery) if headers is None else headers
        given = {"host": "localhost", **{name.lower(): text for name, text in signed.items()}}
        handler = self.door.find("/hook")["POST"].handler
        assert handler is not None
        return await handler(HttpRequest("POST", "/hook", "", given, body, "127.0.0.1"))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        found = self.door.counts["repo"]
        return found.accepted, found.duplicates, found.refused, found.put_off


@pytest.fixture
async def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (StoreFull("no space"), "5"),
        (StoreBusy("locked", retry_after=1.0), "1"),
        (StoreBusy("the queue is full", retry_after=0.1), "1"),
        (StoreFailed("fsync"), "5"),
    ],
)
async def test_F57_what_cannot_be_written_is_503_with_a_time_to_come_again(
    rig: Rig, error: GatewayError, seconds: str
) -> None:
    """Never a 2xx, and never a status that a sender takes for its own fault."""
    rig.log.error = error
    answer = await rig.send()
    rig.log.error = None

    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, seconds)
    assert (await rig.send()).status == 202
    assert rig.counts == (1, 0, 0, 1)


async def test_F57_a_sender_waits_for_the_disk_and_not_for_ever(rig: Rig) -> None:
    """What was written after all is found by its next try, and is not written again."""
    rig.log.stalled = True
    first = asyncio.create_task(rig.send())
    await asyncio.sleep(0)
    assert not first.done()
    await rig.clock.advance(COMMIT_LIMIT)

    assert (await first).status == 503
    rig.log.stalled = False
    rig.log.write()
    assert (await rig.send()).status == 202
    assert rig.log.events == ["d"]
    assert rig.counts == (0, 1, 0, 1)


async def test_F54_who_tries_again_too_early_waits_for_the_same_write(rig: Rig) -> None:
    """One unit, one event; all hear of it together."""
    rig.log.stalled = True
    tries = [asyncio.create_task(rig.send()) for _ in range(10)]
    await asyncio.sleep(0)
    assert len(rig.log.waiting) == 1
    rig.log.write()

    assert {each.status for each in await asyncio.gather(*tries)} == {202}
    assert rig.counts == (1, 9, 0, 0)


async def test_what_happened_is_counted_over_reloads_and_forgotten_with_the_webhook(rig: Rig) -> None:
    await rig.send()
    await rig.send()
    await rig.send(headers={})
    assert rig.counts == (1, 1, 1, 0)

    moved = {"webhooks": {"repo": {"path": "/hook", "secret": Secret("another")}}}
    rig.door.use(table_of(read(GatewayConfig, moved), {}))
    await rig.send()
    assert rig.counts == (1, 1, 2, 0)
    rig.door.use({})
    assert rig.door.counts == {}
    assert rig.door.find("/hook") == {}


async def test_a_webhook_whose_secret_is_not_there_is_served_to_nobody(rig: Rig) -> None:
    """Also where its name is as long as names may be, and an unsigned request would be taken."""
    for name in ("repo", "r" * 64):
        config = read(GatewayConfig, {"webhooks": {name: {"path": "/hook", "insecure_no_secret": True}}})
        rig.door.use(table_of(config, {dotted(("webhooks", name)): "it is unset"}))

        assert (await rig.send(headers={})).status == 503
        assert [one.reason for one in rig.door.report()] == ["it is unset"]
    assert rig.log.events == []


async def test_F55_refusals_are_told_once_in_a_while(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """However many there are; with how many there were."""
    for _ in range(100):
        await rig.send(b"a body", headers={})
    await rig.clock.advance(TELL_EVERY)
    await rig.send(b"a body", headers=github(b"other"))
    lines = [vars(record) for record in caplog.records if record.message == "webhook_refused"]

    assert [(line["why"], line["refused"]) for line in lines] == [
        ("no signature", 1),
        ("the signature is not by a secret of this route", 101),
    ]
    assert "a body" not in str(lines)


async def test_a_large_body_is_read_beside_the_loop_and_comes_out_the_same(rig: Rig) -> None:
    body = b'"' + b"x" * 300_000 + b'"'

    assert (await rig.send(body)).status == 202
    assert rig.log.events == ["d"]


async def test_an_event_that_no_reader_could_take_is_413(rig: Rig) -> None:
    """gateway.limits.message_bytes bounds what a client takes in one message."""
    body = b"\xff" * (3 << 19)  # each byte takes three

    assert (await rig.send(body)).status == 413
    assert rig.log.events == []
