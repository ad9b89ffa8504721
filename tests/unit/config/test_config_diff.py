"""What a reload has to do, and what it cannot do live."""

import pytest
from config_rig import loaded

from gatewayd.config.diff import ChangedPath, ChannelChange, ConfigDiff, diff
from gatewayd.core.secret import Secret

BASE = """
gateway: {port: 0}
agents:
  a: {model: offline/assistant}
  b: {model: offline/assistant}
channels:
  one: {platform: sim, token: "${TOKEN}", routing: {default: a}}
  two: {platform: sim, routing: {default: b}}
"""


def compare(old: str, new: str, **environ: str) -> ConfigDiff:
    return diff(loaded(old, environ={"TOKEN": "t"}).config, loaded(new, environ={"TOKEN": "t", **environ}).config)


def test_nothing_changed_is_nothing_to_do() -> None:
    found = compare(BASE, "# other layout\n" + BASE)

    assert not found
    assert found.paths == ()


def test_a_start_is_a_reload_from_nothing_and_needs_no_restart() -> None:
    found = diff(None, loaded(BASE, environ={"TOKEN": "t"}).config)

    assert found.agents.added == ("a", "b")
    assert found.channels.added == ("one", "two")
    assert found.restart_required == ()


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("default: b", "default: a", ChannelChange(connection=False, policy=True)),
        ("sim, routing: {default: b}", "sim, rate_limit: 5, routing: {default: b}", ChannelChange(False, True)),
        ("sim, routing: {default: b}", "sim, server: x, routing: {default: b}", ChannelChange(True, False)),
        ("sim, routing: {default: b}", "local, routing: {default: b}", ChannelChange(True, False)),
        ("sim, routing: {default: b}", "sim, enabled: false, routing: {default: b}", ChannelChange(True, False)),
        ("sim, routing: {default: b}", "sim, server: x, routing: {dm: b}", ChannelChange(True, True)),
    ],
)
def test_a_changed_route_touches_no_adapter_and_a_changed_setting_does(
    old: str, new: str, change: ChannelChange
) -> None:
    found = compare(BASE, BASE.replace(old, new))

    assert found.channels.changed == ("two",)
    assert found.channel_changes == {"two": change}


def test_a_changed_secret_is_seen_and_shown_by_fingerprint() -> None:
    found = compare(BASE, BASE, TOKEN="other")

    assert found.channel_changes == {"one": ChannelChange(connection=True, policy=False)}
    assert found.paths == (ChangedPath("channels.one.token", str(Secret("t")), str(Secret("other"))),)


def test_added_removed_and_changed_agents_are_told_apart() -> None:
    new = BASE.replace("  b: {model: offline/assistant}", "  b: {model: m}\n  c: {model: m}").replace(
        "  a: {model: offline/assistant}\n", ""
    )

    found = compare(BASE, new.replace("default: a", "default: b"))

    assert (found.agents.added, found.agents.removed, found.agents.changed) == (("c",), ("a",), ("b",))
    assert found.touches("agents", "b")
    assert found.touches("agents", "b", "model")
    assert not found.touches("provider")


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("{port: 0}", "{port: 1}", "gateway.port"),
        ("{port: 0}", "{port: 0, host: '::1'}", "gateway.host"),
        ("{port: 0}", "{port: 0, socket: /run/g.sock}", "gateway.socket"),
        ("{port: 0}", "{port: 0, limits: {message_bytes: 1MiB}}", "gateway.limits.message_bytes"),
        ("{port: 0}", "{port: 0, limits: {metadata_bytes: 8KiB}}", "gateway.limits.metadata_bytes"),
        ("agents:", "storage: {url: 'sqlite:///x.db'}\nagents:", "storage.url"),
        ("agents:", "storage: {durability: relaxed}\nagents:", "storage.durability"),
    ],
)
def test_what_is_fixed_at_the_start_needs_a_restart(old: str, new: str, path: str) -> None:
    assert compare(BASE, BASE.replace(old, new, 1)).restart_required == (path,)


@pytest.mark.parametrize(
    "line",
    [
        "gateway: {port: 0, max_connections: 5, drain_timeout: 1, auth_token: '${TOKEN2}', strict: true}",
        "gateway: {port: 0, logging: {level: debug, format: json}, session_config: {timeout: 5}}",
        "gateway: {port: 0, limits: {queue_bytes: 1MiB, streams_per_client: 3, publish_rate: 1, send_rate: 1}}",
        "gateway: {port: 0}\nprovider: {retries: 5}\nbus: {history: {max_events: 5}}",
        "gateway: {port: 0}\nstorage: {retention: {seen: {max_age: 1h}}}",
    ],
)
def test_everything_else_changes_live(line: str) -> None:
    found = compare(BASE, BASE.replace("gateway: {port: 0}", line), TOKEN2="x")

    assert found.paths
    assert found.restart_required == ()
    assert not found.channels
