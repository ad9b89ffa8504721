"""`gatewayctl topics`: push topics, who is on them, and what is said there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.v1 import push_service_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from gatewayctl.failures import FAILED, USAGE, Failure
from gatewayctl.nouns import add_limit, add_verb, json_object, listed
from gatewayctl.plain import plain
from gatewayctl.system import SystemClock, local_time
from gatewayctl.words import age, plural, shorten

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.client import Gap, Presence, TopicMessage
    from gatewayctl.output import Column, Row


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _selection(parser)
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    _selection(add_verb(verbs, "list", common, list_, "list the topics, by name"), again=True)
    show = add_verb(verbs, "show", common, show_, "show a topic and who is on it")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--away", action="store_true", help="members that are away, too")
    add_limit(show)
    create = add_verb(verbs, "create", common, create_, "make a topic; it stays until it is deleted")
    create.add_argument("name", metavar="NAME", help="words joined by dots, such as orders.eu")
    create.add_argument("--metadata", default="", metavar="JSON", help="what to say about it")
    delete = add_verb(verbs, "delete", common, delete_, "delete a topic; what waits there becomes dead letters")
    delete.add_argument("name", metavar="NAME")
    push = add_verb(verbs, "push", common, push_, "push a message to all members of a topic")
    push.add_argument("name", metavar="NAME")
    push.add_argument("data", metavar="JSON", help='the message, such as \'{"content": "hello"}\'')
    push.add_argument("--acknowledged", action="store_true", help="members that acknowledge have to")
    push.add_argument(
        "--idempotency-key", default="", metavar="KEY", help="with --acknowledged: pushing again changes nothing"
    )
    follow = add_verb(verbs, "follow", common, follow_, "print the messages of a topic as they come")
    follow.add_argument("name", metavar="NAME")
    follow.add_argument("--presence", action="store_true", help="who comes and goes, too")
    dead = add_verb(verbs, "dead-letters", common, dead_letters_, "list what was given up, the newest first")
    dead.add_argument("--topic", default="", metavar="NAME", help="only those of this topic")
    add_limit(dead)
    retry = add_verb(verbs, "retry", common, retry_, "push a dead letter again, to the client that it was for")
    retry.add_argument("id", metavar="ID")


def _selection(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415 - only while parsing

    default: Any = argparse.SUPPRESS if again else ""
    parser.add_argument(
        "--pattern", default=default, metavar="PATTERN", help="only names that match; * is a word, > the rest"
    )
    add_limit(parser, **({"default": argparse.SUPPRESS} if again else {}))


def list_(args: argparse.Namespace, ctl: Ctl) -> None:
    def page(token: str, count: int) -> pb.ListTopicsRequest:
        return pb.ListTopicsRequest(page_token=token, page_size=count, pattern=args.pattern)

    rows = listed(ctl, "PushService/ListTopics", page, pb.ListTopicsResponse, "topics", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("TOPIC", "name"),
        ("OWNER", "owner"),
        ("MEMBERS", lambda row: str(row["member_count"])),
        ("PRESENT", lambda row: str(row["present_count"])),
        ("PENDING", lambda row: str(row["pending_count"])),
        ("CREATED", lambda row: age(row["create_time"], now)),
    ]
    ctl.out.table(rows, columns, "no topics")


def show_(args: argparse.Namespace, ctl: Ctl) -> None:
    answer = plain(ctl.daemon.call("PushService/GetTopic", pb.GetTopicRequest(topic=args.name), pb.GetTopicResponse))

    def page(token: str, count: int) -> pb.GetPresenceRequest:
        return pb.GetPresenceRequest(topic=args.name, page_token=token, page_size=count, include_away=args.away)

    members = listed(ctl, "PushService/GetPresence", page, pb.GetPresenceResponse, "members", limit=args.limit)
    if not ctl.out.for_people:
        ctl.out.values(answer | {"members": members})
        return
    topic = answer["topic"] or {}
    now = SystemClock().now()
    ctl.out.record(answer, _about(topic, now))
    away = topic.get("member_count", 0) - topic.get("present_count", 0)
    columns: list[Column] = [
        ("CLIENT", "client_id"),
        ("PRINCIPAL", "principal"),
        ("STATE", lambda row: "present" if row["present"] else "away"),
        ("STATUS", "status"),
        ("ACKNOWLEDGES", lambda row: "yes" if row["acknowledged"] else "no"),
        ("PENDING", lambda row: str(row["pending_count"])),
        ("JOINED", lambda row: age(row["join_time"], now)),
        ("METADATA", lambda row: _json(row["metadata"], 40)),
    ]
    ctl.out.say()
    ctl.out.table(members, columns, "nobody is there")
    if away > 0 and not args.away:
        ctl.out.note(f"{plural(away, 'member')} away: --away lists them, too (it needs admin.read)")


def _about(topic: Row, now: float) -> list[tuple[str, object]]:
    return [
        ("topic", topic.get("name")),
        ("owner", topic.get("owner")),
        ("created", age(topic.get("create_time"), now)),
        ("members", f"{topic.get('member_count', 0)}, {topic.get('present_count', 0)} present"),
        ("pending", str(topic.get("pending_count", 0))),
        ("metadata", _json(topic.get("metadata"), 100)),
    ]


def create_(args: argparse.Namespace, ctl: Ctl) -> None:
    metadata = _struct(json_object(args.metadata, "--metadata")) if args.metadata else None
    request = pb.CreateTopicRequest(topic=args.name, metadata=metadata)
    answer = plain(ctl.daemon.call("PushService/CreateTopic", request, pb.CreateTopicResponse))
    topic = answer["topic"] or {}
    ctl.out.record(answer, [("created", topic.get("name")), ("owner", topic.get("owner"))])


def delete_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.DeleteTopicRequest(topic=args.name)
    answer = plain(ctl.daemon.call("PushService/DeleteTopic", request, pb.DeleteTopicResponse))
    fields = [("deleted", args.name), ("members", str(answer["member_count"]))]
    ctl.out.record(answer, [*fields, ("dead letters", str(answer["dead_letter_count"]))])


def push_(args: argparse.Namespace, ctl: Ctl) -> None:
    if args.idempotency_key and not args.acknowledged:
        raise Failure("--idempotency-key needs --acknowledged: other messages are not kept", USAGE)
    request = pb.PublishToTopicRequest(
        topic=args.name,
        data=_struct(json_object(args.data, "the message")),
        acknowledged=args.acknowledged,
        idempotency_key=args.idempotency_key,
    )
    answer = plain(ctl.daemon.call("PushService/PublishToTopic", request, pb.PublishToTopicResponse))
    ctl.out.record(answer, [("pushed", answer["message_id"]), ("recipients", str(answer["recipient_count"]))])


def follow_(args: argparse.Namespace, ctl: Ctl) -> int | None:
    from gatewayctl.live import Live  # noqa: PLC0415 - only following needs a loop

    def told(gap: Gap) -> None:
        ctl.out.note(f"gatewayctl: at least {gap.dropped} messages are missing here ({gap.reason})")

    with Live(ctl) as live:

        async def join() -> Any:
            on_presence = (lambda change: _show_presence(ctl, change)) if args.presence else None
            return await live.client.topics.join(args.name, on_gap=told, on_presence=on_presence).started()

        messages = live.call(join())
        try:
            for message in live.each(messages):
                _show(ctl, message)
        except KeyboardInterrupt:
            return None
    return FAILED


def _show(ctl: Ctl, message: TopicMessage) -> None:
    if ctl.out.for_people:
        sender = "/".join(part for part in (message.principal, message.sender) if part)
        ctl.out.text(f"{local_time(message.time)} {sender}: {_json(message.data, 4000)}")
        return
    values = {"topic": message.topic, "message_id": message.message_id, "client_id": message.sender}
    ctl.out.item(values | {"principal": message.principal, "data": message.data, "time": message.time})


def _show_presence(ctl: Ctl, change: Presence) -> None:
    if not ctl.out.for_people:
        from dataclasses import asdict  # noqa: PLC0415 - rare

        ctl.out.item(asdict(change))
        return
    who, about = f"{change.principal}/{change.client_id}", _json(change.metadata, 200)
    ctl.out.text(f"{local_time(change.time)} {who} {change.kind} {change.status} {about}".rstrip())


def dead_letters_(args: argparse.Namespace, ctl: Ctl) -> None:
    def page(token: str, count: int) -> pb.ListTopicDeadLettersRequest:
        return pb.ListTopicDeadLettersRequest(page_token=token, page_size=count, topic=args.topic)

    answer = pb.ListTopicDeadLettersResponse
    rows = listed(ctl, "PushService/ListTopicDeadLetters", page, answer, "dead_letters", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("DEAD LETTER", "id"),
        ("MESSAGE", lambda row: (row["message"] or {}).get("message_id")),
        ("TOPIC", lambda row: (row["message"] or {}).get("topic")),
        ("TO", lambda row: "/".join(part for part in (row["principal"], row["client_id"]) if part)),
        ("REASON", "reason"),
        ("TRIES", lambda row: str(row["attempts"])),
        ("SINCE", lambda row: age(row["time"], now)),
        ("DATA", lambda row: _json((row["message"] or {}).get("data"), 40)),
    ]
    ctl.out.table(rows, columns, "no dead letters")


def retry_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.RetryTopicDeadLetterRequest(dead_letter_id=args.id)
    answer = plain(ctl.daemon.call("PushService/RetryTopicDeadLetter", request, pb.RetryTopicDeadLetterResponse))
    ctl.out.record(answer, [("pushed again", args.id), ("message", answer["message_id"])])


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def _json(values: Any, width: int) -> str:
    return shorten(json.dumps(values, ensure_ascii=False), width) if values else ""
