"""Entry points in gateway.yaml: what each kind takes, and where what is wrong is told."""

import pytest
from config_rig import lines, loaded

BASE = "agents: {a: {model: offline/echo}}\nchannels: {c: {platform: sim, routing: {default: a}}}\n"
HOOKS = "webhooks: {github: {path: /hub, insecure_no_secret: true}, git: {path: /git, insecure_no_secret: true}}\n"

KINDS = {
    "api": "",
    "manual": "",
    "event": "event_types: [custom]",
    "webhook": "source_id: github",
    "message": "channel: c",
    "timer": "cron: 0 9 * * *",
}
TAKEN = [
    ("event", "event_types", "[message, custom]", ("message", "custom")),
    ("event", "event_types", "message", ("message",)),
    ("event", "filter_stream", "s", "s"),
    ("event", "filter_node", "n", "n"),
    ("event", "filter_topic", "a.*.>", "a.*.>"),
    ("event", "include_own", "true", True),
    ("webhook", "source_id", "git", "git"),
    ("message", "topic", "a.>", "a.>"),
    ("message", "channel", "c", "c"),
    ("timer", "cron", "'*/5 8-17 * jan-mar mon,wed'", "*/5 8-17 * jan-mar mon,wed"),
    ("timer", "timezone", "Europe/Berlin", "Europe/Berlin"),
    ("timer", "interval_minutes", "0.5", 0.5),
    ("timer", "run_immediately", "true", True),
]
ONE_OF = {"topic": "channel", "interval_minutes": "cron"}


def with_entry(entry: str) -> str:
    return f"{BASE}entry_points: {{e: {{{entry}}}}}\n{HOOKS}"


def of_kind(kind: str, keys: str) -> str:
    return with_entry(f"agent: a, trigger: {kind}, trigger_config: {{{keys}}}")


@pytest.mark.parametrize(("kind", "key", "written", "value"), TAKEN)
def test_a_kind_takes_its_keys_and_no_other_kind_does(kind: str, key: str, written: str, value: object) -> None:
    given = [each for each in KINDS[kind].split(", ") if each.partition(":")[0] not in (key, ONE_OF.get(key))]
    keys = ", ".join([*given, f"{key}: {written}"])

    entry = loaded(of_kind(kind, keys)).config.entry_points["e"]

    assert getattr(entry.trigger_config, key) == value
    for other in KINDS.keys() - {kind}:
        told = lines(of_kind(other, ", ".join(filter(None, (KINDS[other], f"{key}: {written}")))).encode())
        assert any(f"trigger_config.{key}: this is for trigger: {kind}" in line for line in told), (other, told)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("agent: nobody", "entry_points.e.agent: there is no agent nobody"),
        ("name: x", "entry_points.e: it starts nothing"),
        ("agent: a, graph: g", "an entry point starts an agent or a graph, not both"),
        ("agent: a, isolation_level: alone", "is not one of isolated, shared, synchronized"),
        ("agent: a, trigger: evnt", "did you mean event?"),
        ("agent: a, trigger: api, trigger_type: api", "is another name for"),
        ("agent: a, priority: 1001", "entry_points.e.priority"),
        ("agent: a, max_concurrent: 0", "entry_points.e.max_concurrent"),
        ("agent: a, trigger: event", "event_types: no event starts it"),
        ("agent: a, trigger: event, trigger_config: {event_types: []}", "event_types: no event starts it"),
        ("agent: a, trigger: event, trigger_config: {event_types: [mesage]}", "did you mean message?"),
        ("agent: a, trigger: event, trigger_config: {event_types: [custom], filter_topic: a..b}", "'*' stands for"),
        ("agent: a, trigger: webhook", "source_id: no webhook starts it"),
        ("agent: a, trigger: message", "either a channel or a topic"),
        ("agent: a, trigger: message, trigger_config: {channel: c, topic: t}", "either a channel or a topic"),
        ("agent: a, trigger: message, trigger_config: {channel: d}", "there is no channel d"),
        ("agent: a, trigger: timer", "either cron or interval_minutes"),
        ("agent: a, trigger: timer, trigger_config: {cron: 0 9 * * *, interval_minutes: 1}", "either cron or"),
        ("agent: a, trigger: timer, trigger_config: {interval_minutes: 1, timezone: UTC}", "this is for cron alone"),
        ("agent: a, trigger: timer, trigger_config: {interval_minutes: 0}", "a number from 0.01"),
        ("agent: a, trigger: timer, trigger_config: {cron: 0 9 * *}", "five fields"),
        ("agent: a, trigger: timer, trigger_config: {cron: 0 0 9 * * *}", "five fields"),
        ("agent: a, trigger: timer, trigger_config: {cron: 61 * * * *}", "no cron schedule"),
        ("agent: a, trigger: timer, trigger_config: {cron: R * * * *}", "no cron schedule"),
        ("agent: a, trigger: timer, trigger_config: {cron: 0 0 30 2 *}", "never fires"),
        ("agent: a, trigger: timer, trigger_config: {cron: 0 9 * * *, timezone: Mars/Base}", "no time zone"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(entry: str, said: str) -> None:
    told = lines(with_entry(entry).encode())

    assert any(said in line for line in told), told
    assert all(":3:" in line for line in told)


def test_the_same_name_twice_is_told_with_both_places() -> None:
    told = lines(f"{BASE}entry_points:\n  e: {{agent: a}}\n  e: {{agent: a}}\n".encode())

    assert len(told) == 1
    assert ":5:" in told[0]
    assert "first in line 4" in told[0]
