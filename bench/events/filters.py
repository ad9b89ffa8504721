"""Subscribers with filters of different kinds, each of whom gets a part of what is published."""

from collections.abc import Sequence

from bench.events import fanout
from bench.events.arms import Arm
from bench.events.gateway import Gateway
from bench.events.load import Shape
from bench.events.nats import Nats
from bench.report import Row

STREAMS = TOPICS = 10
SUBSCRIBERS, WINDOW = 100, 1000

PLACES = [f"{stream}|orders.{topic}.created" for topic in range(TOPICS) for stream in range(STREAMS)]
"""Where the events of a cycle go."""
SELECTIONS = [
    *("" for _ in range(25)),
    *(f"{number % STREAMS}|" for number in range(25)),
    *(f"|orders.{number % TOPICS}.created" for number in range(25)),
    *("|orders.*.created" if number % 2 else f"{number % STREAMS}|orders.*.created" for number in range(25)),
]
"""A quarter each: everything, one stream, one topic, a pattern of topics with or without a stream."""


def wants(subscriber: int, number: int) -> bool:
    """Whether a subscriber is to get the event of a number."""
    stream, _, topic = PLACES[number % len(PLACES)].partition("|")
    want_stream, _, want_topic = SELECTIONS[subscriber].partition("|")
    return want_stream in ("", stream) and want_topic in ("", "orders.*.created", topic)


def shape() -> Shape:
    """Who subscribes to what, and where events go."""
    shares = [sum(wants(one, number) for number in range(len(PLACES))) for one in range(len(SELECTIONS))]
    return Shape(SELECTIONS, 1, PLACES, wants, shares)


async def rows(*, rounds: int, seconds: float, with_peers: bool) -> list[Row]:
    """Beside nats-server, where the stream is the first word of the subject."""
    ours = Gateway()
    arms: list[Arm] = [ours]
    nats = Nats(places=PLACES)
    if with_peers and not nats.missing():
        arms.append(nats)
    found = await fanout.rounds(arms, shape(), window=WINDOW, number=rounds, seconds=seconds)
    part = f"{_part(shape().shares):.0f} %"
    return [
        fanout.row(
            found,
            ours,
            subscribers=SUBSCRIBERS,
            window=WINDOW,
            what=f"mixed filters, {SUBSCRIBERS} subscribers",
            against="nats-server",
            note=f"everything, one of {STREAMS} streams, one of {TOPICS} topics, patterns; "
            f"a subscriber gets {part} of the events on average",
        )
    ]


def _part(shares: Sequence[int]) -> float:
    return sum(shares) / len(shares) / len(PLACES) * 100
