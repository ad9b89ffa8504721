"""The section `push`: topics, who is on them, delivery that is acknowledged, and polling."""

from typing import Annotated

from gatewayd.config.fields import DAY, HOUR, KIB, MIB, YEAR, Duration, Flag, Number, Size, Whole
from gatewayd.config.section import Section, setting


class PresenceSection(Section):
    """`push.presence`: who is there."""

    heartbeat_interval: Annotated[float, Duration(1.0, HOUR)] = setting(
        default=15.0,
        description="How often a client that polls is asked to give a sign of life; on a stream the connection is one. "
        "Default 15s, 1s to 1h.",
    )
    offline_timeout: Annotated[float, Duration(1.0, DAY)] = setting(
        default=45.0,
        description="How long after its last sign of life a client counts as gone; longer than heartbeat_interval. "
        "Default 45s, 1s to 1d.",
    )
    min_interval: Annotated[float, Duration(0.0, HOUR)] = setting(
        default=1.0,
        description="Shortest time between two changes of one client on one topic that are told; what happens "
        "in between is told as one. Default 1s, to 1h; 0: everything is told.",
    )


class DeliverySection(Section):
    """`push.delivery`: messages that are acknowledged, and what may wait."""

    ack_timeout: Annotated[float, Duration(0.1, DAY)] = setting(
        default=30.0, description="How long a client may take to acknowledge a delivery. Default 30s, 100ms to 1d."
    )
    max_retries: Annotated[int, Whole(0, 100)] = setting(
        default=3,
        description="How often a delivery that is not acknowledged is made again before it is given up. Default 3, to "
        "100; 0: never.",
    )
    retry_backoff: Annotated[float, Number(1, 100)] = setting(
        default=2.0, description="By how much the time to acknowledge grows with each retry. Default 2, 1 to 100."
    )
    message_ttl: Annotated[float, Duration(1.0, YEAR)] = setting(
        default=DAY, description="How long a message waits for a client before it is given up. Default 1d, 1s to 365d."
    )
    membership_ttl: Annotated[float, Duration(1.0, YEAR)] = setting(
        default=7 * DAY,
        description="How long a client that acknowledges stays a member while it is away. Default 7d, 1s to 365d.",
    )
    max_pending: Annotated[int, Whole(1, 100_000)] = setting(
        default=1000,
        description="Deliveries that may wait for one client to be acknowledged; one more is given up at once. Default "
        "1000, 1 to 100000.",
    )
    max_pending_bytes: Annotated[int, Size(64 * KIB, 1024 * MIB)] = setting(
        default=16 * MIB, description="The same, by size. Default 16MiB, 64KiB to 1GiB."
    )
    queue: Annotated[int, Whole(1, 100_000)] = setting(
        default=1000,
        description="Messages that may wait in memory for one connected client. Beyond it those to be acknowledged "
        "wait on disk, and of the others the oldest are dropped and counted. Default 1000, 1 to 100000.",
    )


class PollingSection(Section):
    """`push.polling`: clients without a stream."""

    wait: Annotated[float, Duration(0.1, 600.0)] = setting(
        default=30.0,
        description="Longest wait of one poll; a client that is silent for twice as long has to register again. "
        "Default 30s, 100ms to 10m.",
    )
    batch: Annotated[int, Whole(1, 1000)] = setting(
        default=100, description="Messages in the answer to one poll. Default 100, 1 to 1000."
    )
    queue: Annotated[int, Whole(1, 100_000)] = setting(
        default=1000, description="As delivery.queue, for a client that polls. Default 1000, 1 to 100000."
    )
    max_clients: Annotated[int, Whole(1, 1_000_000)] = setting(
        default=1000, description="Clients that may be registered to poll at a time. Default 1000, 1 to 1000000."
    )
    http: Flag = setting(
        default=False,
        description="Whether polling is served over HTTP, too, under /v1/push. Default false. A change needs a "
        "restart.",
    )


class PushSection(Section):
    """`push`: topics on which clients meet."""

    enabled: Flag = setting(
        default=False, description="Whether push is served; without it every request is refused. Default false."
    )
    max_topics: Annotated[int, Whole(1, 10_000_000)] = setting(
        default=100_000, description="Topics at a time. Default 100000, 1 to 10000000."
    )
    max_members: Annotated[int, Whole(1, 1_000_000)] = setting(
        default=10_000, description="Clients on one topic. Default 10000, 1 to 1000000."
    )
    max_joined: Annotated[int, Whole(1, 100_000)] = setting(
        default=1000, description="Topics that one client may be on. Default 1000, 1 to 100000."
    )
    max_clients: Annotated[int, Whole(1, 10_000_000)] = setting(
        default=100_000,
        description="Clients that may be on topics at a time, those included that are away. Default 100000, 1 to "
        "10000000.",
    )
    max_metadata: Annotated[int, Size(64, 64 * KIB)] = setting(
        default=4 * KIB,
        description="What may be said about a topic, or by a client about itself, as JSON. Default 4KiB, 64 to 64KiB.",
    )
    presence: PresenceSection = setting(default=PresenceSection(), description="Who is there.")
    delivery: DeliverySection = setting(default=DeliverySection(), description="Acknowledgements, and what may wait.")
    polling: PollingSection = setting(default=PollingSection(), description="Clients without a stream.")
