"""What waits for agents without a worker, and whose questions may be answered: bounded, and let go in time."""

from dataclasses import replace

import pytest

from gatewayd.conversation.agent_mail import WAITING_BYTES, AgentMail
from gatewayd.conversation.client import Client
from gatewayd.core.chunk import Chunk
from gatewayd.core.errors import NotFound
from gatewayd.core.event import Event, EventType
from gatewayd.testing.fakes import FakeClock


class Post:
    """The mail of one gateway, with the agents `tailor` and `baker`."""

    def __init__(self, kept: float = 60.0) -> None:
        self.clock = FakeClock()
        self.remote = {"tailor", "baker"}
        self.mail = AgentMail(
            self.clock, is_remote=lambda name: name in self.remote, kept=lambda: kept, queue_bytes=lambda: 1 << 20
        )

    def put(self, number: int, target: str = "tailor", *, size: int = 100, correlation: str = "") -> None:
        self.mail.reaches(target, "ann")
        self.mail.put(event(number, target, size, correlation))


def event(number: int, target: str, size: int = 100, correlation: str = "") -> Event:
    return Event(
        str(number),
        EventType.CUSTOM,
        "ann",
        "shop",
        float(number),
        target=target,
        correlation_id=correlation,
        owner="ann",
        custom_type="n",
        durable=False,
        wire=b"x" * size,
    )


def taken(client: Client) -> list[int]:
    found = client.inbox.take(1 << 30)
    return [int(one.id) for one in found.events] if found is not None else []


async def test_what_has_waited_for_too_long_is_let_go() -> None:
    post, worker = Post(kept=10.0), Client("maker", "needle")
    post.put(1)
    await post.clock.advance(6.0)
    post.put(2)
    await post.clock.advance(6.0)
    post.mail.began("tailor", worker)

    assert worker.inbox.take_gap() == (1, None)
    assert taken(worker) == [2]


async def test_it_is_let_go_without_a_worker_too() -> None:
    """Nothing that nobody fetches stays."""
    post, worker = Post(kept=10.0), Client("maker", "needle")
    post.put(1)
    await post.clock.advance(11.0)
    post.mail.expire()
    post.mail.began("tailor", worker)

    assert not worker.inbox


def test_the_oldest_go_first_when_there_is_no_room() -> None:
    post, worker = Post(), Client("maker", "needle")
    for number in range(5):
        post.put(number, size=WAITING_BYTES // 3)
    post.put(9, "baker")  # has room of its own
    post.mail.began("tailor", worker)

    assert worker.inbox.take_gap() == (3, None)
    assert taken(worker) == [3, 4]


def test_where_nothing_is_kept_nobody_is_there() -> None:
    """`reconnect_timeout: 0`."""
    post = Post(kept=0.0)
    with pytest.raises(NotFound, match="reconnect_timeout"):
        post.mail.reaches("tailor", "ann")
    post.mail.began("tailor", Client("maker", "needle"))

    assert post.mail.reaches("tailor", "ann") == 1


def test_what_a_worker_was_not_sent_goes_on_to_the_next() -> None:
    """Its own mail does not: that was for it alone."""
    post, first, second = Post(), Client("maker", "needle"), Client("rival", "thread")
    post.mail.began("tailor", first)
    post.put(1)
    post.put(2)
    assert taken(first) == [1, 2]  # on their way, and not known to be sent
    post.put(3)
    post.mail.began("tailor", second)
    post.mail.forgotten(first)

    assert taken(second) == [1, 2, 3]


def test_what_is_for_the_client_itself_ends_with_it() -> None:
    post, first, second = Post(), Client("maker", "needle"), Client("rival", "thread")
    post.mail.began("tailor", first)
    post.mail.began("tailor", second)
    for target in ("needle", "maker"):
        first.inbox.put(Chunk((replace(event(1, target), owner="maker"),)), 1 << 20)
    assert post.mail.forgotten(first) == 0

    assert not second.inbox


def test_an_agent_that_left_the_configuration_keeps_nothing() -> None:
    post, worker = Post(), Client("maker", "needle")
    post.remote.clear()
    post.put(1)
    post.mail.began("tailor", worker)

    assert not worker.inbox


def test_a_worker_called_as_its_agent_leaves_the_mail_of_others_too() -> None:
    """It is not its own mail, though it bears its name: another principal has addressed the agent."""
    post, first, second = Post(), Client("maker", "tailor"), Client("rival", "thread")
    post.mail.began("tailor", first)
    post.put(1)
    assert post.mail.forgotten(first) == 1
    post.mail.began("tailor", second)

    assert taken(second) == [1]


def test_workers_of_an_agent_that_the_daemon_answers_for_now_get_nothing_more() -> None:
    """After a reload; they are there still when another makes it theirs again."""
    post, worker = Post(), Client("maker", "needle")
    post.mail.began("tailor", worker)
    post.remote.remove("tailor")
    assert post.mail.reaches("tailor", "ann") == 0
    post.put(1)
    assert not worker.inbox

    post.remote.add("tailor")
    post.put(2)
    assert taken(worker) == [2]


def test_what_a_worker_that_is_gone_was_not_sent_comes_before_what_waits() -> None:
    post, first, second = Post(), Client("maker", "needle"), Client("rival", "thread")
    post.mail.began("tailor", first)
    for number in (1, 2):
        post.put(number)
    post.mail.ended("tailor", first)  # it is cut off, and expected back
    for number in (3, 4):
        post.put(number)
    post.mail.forgotten(first)
    post.mail.began("tailor", second)

    assert taken(second) == [1, 2, 3, 4]


def test_what_was_not_addressed_to_an_agent_does_not_become_its_mail() -> None:
    """Who it was for is gone, or never was, and an agent has the same name: the publisher may not send to it."""
    post, worker = Post(), Client("maker", "needle")
    post.mail.began("tailor", worker)
    for owner in ("bob", ""):  # a client's event, and one of a local channel
        post.mail.put(replace(event(1, "tailor"), owner=owner))

    assert not worker.inbox
