"""The model itself: documented, exercised, and what the shipped examples need."""

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_rig import ROOT, SETTINGS, loaded

from gatewayd.access.scopes import Scope
from gatewayd.channels.local import LocalAdapter
from gatewayd.channels.sim import SimAdapter
from gatewayd.config import shape
from gatewayd.config.canonical import leaves
from gatewayd.config.diff import diff
from gatewayd.config.fields import show_bytes, show_seconds
from gatewayd.config.model import AgentSection, ChannelSection, GatewayConfig, ProviderSection
from gatewayd.config.section import Section, settings_of
from gatewayd.core.secret import Secret

SHIPPED = sorted((ROOT.parent / "packaging").glob("gateway.*.yaml"))


def sections(section: type[Section] = GatewayConfig) -> Iterator[type[Section]]:
    yield section
    for annotation in shape.keys(section).values():
        inner = shape.section_of(annotation) or shape.section_of(shape.member_of(annotation))
        if inner is not None:
            yield from sections(inner)


KEYS = sorted({(section.__name__, key) for section in sections() for key in shape.keys(section)})


@pytest.mark.parametrize("section", sorted(set(sections()), key=lambda each: each.__name__))
def test_every_key_is_documented_and_every_section_is_closed(section: type[Section]) -> None:
    assert section.__doc__
    for name, field in settings_of(section).items():
        assert field.description, f"{section.__name__}.{name}"
        assert field.description.endswith((".", "?"))


def test_every_alias_and_hint_is_about_keys_that_make_sense() -> None:
    for section in set(sections()):
        assert issubclass(section, Section)
        known = shape.keys(section)
        assert all(name in known and alias not in known for alias, name in section.ALIASES.items())
        assert not set(section.HINTS) & set(known)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_stands_in_the_example(section: str, key: str) -> None:
    example = (ROOT.parent / "packaging" / "gateway.example.yaml").read_text()

    assert re.search(rf"\b{key}\b", example), f"{section}.{key}"


ARRIVES: dict[str, tuple[str, object]] = {
    "gateway.host": ("'::1'", "::1"),
    "gateway.port": ("0", 0),
    "gateway.socket": ("/run/g.sock", "/run/g.sock"),
    "gateway.auth_token": ("${TOKEN}", Secret("tok-from-environment")),
    "gateway.strict": ("true", True),
    "gateway.max_connections": ("7", 7),
    "gateway.max_sessions_per_agent": ("7", 7),
    "gateway.heartbeat_interval": ("7s", 7.0),
    "gateway.reconnect_timeout": ("7s", 7.0),
    "gateway.drain_timeout": ("7s", 7.0),
    "gateway.http.host": ("'::1'", "::1"),
    "gateway.http.port": ("0", 0),
    "gateway.http.max_body": ("2KiB", 2048),
    "gateway.http.origins": ("[HTTPS://Chat.example.com:443]", ("https://chat.example.com",)),
    "gateway.http.websocket": ("true", True),
    "gateway.session_config.timeout": ("7s", 7.0),
    "gateway.session_config.max_messages": ("7", 7),
    "gateway.session_config.persist": ("false", False),
    "gateway.session_config.max_bytes": ("2KiB", 2048),
    "gateway.logging.level": ("debug", "debug"),
    "gateway.logging.format": ("json", "json"),
    "gateway.limits.message_bytes": ("8KiB", 8192),
    "gateway.limits.metadata_bytes": ("2KiB", 2048),
    "gateway.limits.streams_per_client": ("7", 7),
    "gateway.limits.publish_rate": ("7", 7.0),
    "gateway.limits.send_rate": ("0.5", 0.5),
    "gateway.limits.queue_bytes": ("1MiB", 1 << 20),
    "runtime.max_concurrent_executions": ("7", 7),
    "runtime.execution_log": ("false", False),
    "runtime.checkpoints.enabled": ("false", False),
    "runtime.checkpoints.on_node_start": ("false", False),
    "runtime.checkpoints.on_node_complete": ("false", False),
    "runtime.checkpoints.max_age_days": ("0.5", 0.5),
    "runtime.checkpoints.max_count": ("7", 7),
    "runtime.execution_result_max": ("7", 7),
    "runtime.execution_result_ttl_seconds": ("7s", 7.0),
    "provider.model": ("m", "m"),
    "provider.base_url": ("http://[::1]:1/v1", "http://[::1]:1/v1"),
    "provider.api_key": ("${TOKEN}", Secret("tok-from-environment")),
    "provider.timeout": ("7s", 7.0),
    "provider.retries": ("0", 0),
    "agents.a.instructions": ("x", "x"),
    "agents.a.model": ("m", "m"),
    "agents.a.fallback_models": ("[m, n]", ("m", "n")),
    "agents.a.temperature": ("0", 0.0),
    "agents.a.max_tokens": ("7", 7),
    "agents.a.tools": ("[]", ()),
    "agents.a.tool_choice": ("none", "none"),
    "agents.a.base_url": ("https://h/v1", "https://h/v1"),
    "agents.a.api_key": ("${TOKEN}", Secret("tok-from-environment")),
    "agents.a.role": ("x", "x"),
    "agents.a.goal": ("x", "x"),
    "agents.a.backstory": ("x", "x"),
    "agents.a.timeout": ("7s", 7.0),
    "agents.a.max_steps": ("7", 7),
    "agents.a.greeting": ("x", "x"),
    "agents.a.topics": ("[orders, news.*]", ("orders", "news.*")),
    "agents.a.concurrency": ("concurrent(7)", "concurrent(7)"),
    "agents.p.class": ("m:G", "m:G"),
    "agents.p.options.key": ("[x]", ["x"]),
    "agents.r.remote": ("true", True),
    "agents.g.graph": ("h", "h"),
    "graphs.g.description": ("x", "x"),
    "graphs.g.entry_node": ("b", "b"),
    "graphs.g.timeout": ("7s", 7.0),
    "graphs.g.nodes.a.kind": ("agent", "agent"),
    "graphs.g.nodes.a.prompt": ("x", "x"),
    "graphs.g.nodes.a.client_facing": ("true", True),
    "graphs.g.nodes.a.input": ("true", True),
    "graphs.g.nodes.a.max_iterations": ("7", 7),
    "graphs.g.nodes.a.retries": ("7", 7),
    "graphs.g.nodes.a.timeout": ("7s", 7.0),
    "graphs.g.nodes.a.stall_timeout": ("7s", 7.0),
    "channels.c.platform": ("local", "local"),
    "channels.c.enabled": ("false", False),
    "channels.c.routing.group": ("a", "a"),
    "channels.c.group_policy": ("observe", "observe"),
    "channels.c.session_scope": ("per_chat", "per_chat"),
    "channels.c.session.reset": ("daily", "daily"),
    "channels.c.session.idle_minutes": ("7", 7.0),
    "channels.c.session.at_hour": ("0", 0),
    "channels.c.busy_mode": ("steer", "steer"),
    "channels.c.rate_limit": ("0.5", 0.5),
    "channels.c.max_message_length": ("70", 70),
    "channels.c.ambiguous": ("resend", "resend"),
    "clients.k.token_sha256": ("[" + "b" * 64 + "]", ("b" * 64,)),
    "clients.k.scopes": ("[admin.read]", ("admin.read",)),
    "clients.k.expires": ("2030-01-01", datetime(2030, 1, 1, tzinfo=UTC)),
    "storage.url": ("sqlite:///x.db", "sqlite:///x.db"),
    "storage.durability": ("relaxed", "relaxed"),
    "bus.handler_concurrency": ("7", 7),
    "push.enabled": ("true", True),
    **{f"push.{key}": ("70", 70) for key in ("max_topics", "max_members", "max_joined", "max_clients", "max_metadata")},
    "push.presence.heartbeat_interval": ("7s", 7.0),
    "push.presence.offline_timeout": ("70s", 70.0),
    "push.presence.min_interval": ("7s", 7.0),
    "push.delivery.ack_timeout": ("7s", 7.0),
    "push.delivery.max_retries": ("7", 7),
    "push.delivery.retry_backoff": ("7", 7.0),
    "push.delivery.message_ttl": ("7s", 7.0),
    "push.delivery.membership_ttl": ("7s", 7.0),
    "push.delivery.max_pending": ("7", 7),
    "push.delivery.max_pending_bytes": ("1MiB", 1 << 20),
    "push.delivery.queue": ("7", 7),
    "push.polling.wait": ("7s", 7.0),
    "push.polling.batch": ("7", 7),
    "push.polling.queue": ("7", 7),
    "push.polling.max_clients": ("7", 7),
    "push.polling.http": ("true", True),
    "bus.history.max_events": ("7", 7),
    "bus.history.max_age": ("7s", 7.0),
    "bus.history.max_bytes": ("1MiB", 1 << 20),
    **{
        f"storage.retention.{table}.{bound}": value
        for table in (
            "sessions",
            "executions",
            "inbox",
            "outbox",
            "ledger",
            "seen",
            "audit",
            "dead_letters",
            "push_dead_letters",
        )
        for bound, value in (("max_age", ("7s", 7.0)), ("max_count", ("7", 7)), ("max_bytes", ("1MiB", 1 << 20)))
    },
}
"""Each key with a value that is not its default, as it is written and as it is read."""
NODES = ("agent", "tool", "function", "arguments", "edges")
"""What a graph is made of is checked as a whole: `test_graphs.py` and the broken files."""
BASE = {
    "provider": {"model": "offline/echo"},
    "agents": {"a": {"model": "offline/assistant"}, "p": {"class": "m:F"}, "r": {}, "g": {"graph": "g"}},
    "channels": {"c": {"platform": "sim", "routing": {"default": "a"}}},
    "graphs": {
        "g": {
            "nodes": {"a": {"agent": "a"}, "b": {"agent": "a"}},
            "entry_node": "a",
            "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}],
        },
        "h": {"nodes": {"a": {"agent": "a"}}},
    },
    "clients": {"k": {"token_sha256": "a" * 64}},
}


@pytest.mark.parametrize("path", ARRIVES)
def test_every_key_arrives_and_changes_nothing_else(path: str) -> None:
    """That each one has an effect is proved where the effect is."""
    written, value = ARRIVES[path]
    tree = copy.deepcopy(BASE)
    *around, key = path.split(".")
    node: dict[str, Any] = tree
    for step in around:
        node = node.setdefault(step, {})
    node[key] = yaml.safe_load(written) if "expires" not in path else written

    old = loaded(yaml.safe_dump(BASE)).config
    new = loaded(yaml.safe_dump(tree)).config

    assert dict(leaves(new))[tuple(path.split("."))] == value
    changed = {each.path for each in diff(old, new).paths}
    assert changed == {path} or path == "channels.c.platform"


def test_the_table_above_has_every_key() -> None:
    config = loaded(yaml.safe_dump(BASE)).config
    channel = {("channels", "c", key) for key in shape.keys(SETTINGS["sim"])}
    adapters = {path for path, _ in leaves(config) if path[:3] in channel}
    adapters |= {path for path, _ in leaves(config) if path[:2] == ("agents", "p") and path[2] != "class"}
    adapters |= {path for path, _ in leaves(config) if path[:2] == ("agents", "r") and path[2] != "remote"}
    adapters |= {path for path, _ in leaves(config) if path[:2] == ("agents", "g") and path[2] != "graph"}
    adapters |= {("agents", "a", "class"), ("agents", "a", "remote"), ("agents", "a", "graph")}
    adapters |= {path for path, _ in leaves(config) if path[0] == "graphs" and path[-1] in NODES}
    adapters |= {path for path, _ in leaves(config) if path[:2] == ("graphs", "h") or path[3:4] == ("b",)}

    assert {".".join(map(str, path)) for path, _ in leaves(config) if path not in adapters} <= {
        *ARRIVES,
        "channels.c.routing.default",
        *(f"gateway.{key}" for key in ("ssl_cert", "ssl_key", "ssl_client_ca")),  # not one alone: test_config_tls
    }


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_shipped_file_loads_with_the_real_adapters_and_no_environment(file: Path) -> None:
    adapters = {"sim": SimAdapter.Settings, "local": LocalAdapter.Settings}

    found = loaded(
        file.read_bytes(), environ={}, settings_for=adapters.get, check_scope=lambda scope: Scope.parse(scope) and None
    )

    assert not found.unavailable
    assert not found.warnings


def test_the_quickstart_has_what_the_tutorial_uses() -> None:
    (file,) = (file for file in SHIPPED if "quickstart" in file.name)

    config = loaded(file.read_bytes()).config

    assert config.agents["assistant"].model == "offline/assistant"
    assert {channel.platform for channel in config.channels.values()} == {"local", "sim"}
    assert config.gateway.port == 8765


def test_the_example_shows_the_defaults() -> None:
    """A line of the example that claims a default says the truth: only what is listed here differs."""
    (file,) = (file for file in SHIPPED if "example" in file.name)
    config = loaded(file.read_bytes(), settings_for={**SETTINGS, "sim": SimAdapter.Settings}.get).config
    default = GatewayConfig()

    assert config.gateway == default.gateway
    assert config.storage == default.storage
    assert config.bus == default.bus
    assert ProviderSection(**vars(config.provider) | {"model": None}) == default.provider
    shop = config.channels["shop"]
    assert shop.policy()[1:] == ChannelSection().policy()[1:]


def test_role_goal_and_backstory_join_the_instructions_in_this_order() -> None:
    agent = AgentSection(backstory=" old hand\n", goal="help", role="clerk", instructions="Be brief.\n")

    assert agent.system_prompt() == "Be brief.\n\nRole: clerk\n\nGoal: help\n\nBackstory: old hand"
    assert AgentSection().system_prompt() == ""


def test_no_tools_and_the_usual_tools_are_different_things() -> None:
    config = loaded("agents: {a: {model: m, tools: []}, b: {model: m}, c: {model: m, tools: current_time}}").config

    assert [config.agents[name].tools for name in "abc"] == [(), None, ("current_time",)]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0", 0.0), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30.0), ("10m", 600.0), ("1h", 3600.0), ("0.5h", 1800.0)],
)
def test_durations_are_numbers_or_carry_a_unit(written: str, seconds: float) -> None:
    config = loaded(f"gateway: {{drain_timeout: {written}}}\nagents: {{a: {{model: m}}}}").config

    assert config.gateway.drain_timeout == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("65536", 65536), ("64KiB", 65536), ("1MB", 1_000_000), ("1mib", 1 << 20), ("'1 GiB'", 1 << 30)],
)
def test_sizes_are_numbers_or_carry_a_unit(written: str, size: int) -> None:
    config = loaded(f"gateway: {{limits: {{queue_bytes: {written}}}}}\nagents: {{a: {{model: m}}}}").config

    assert config.gateway.limits.queue_bytes == size


def test_quantities_are_shown_as_one_writes_them() -> None:
    assert [show_seconds(value) for value in (0, 0.25, 1.5, 90, 3600, 86400)] == [
        "0s",
        "250ms",
        "1.5s",
        "90s",
        "1h",
        "1d",
    ]
    assert [show_bytes(value) for value in (10, 1024, 1 << 22, 3 << 30)] == ["10", "1KiB", "4MiB", "3GiB"]


def test_zero_takes_a_bound_of_retention_away() -> None:
    text = "storage: {retention: {seen: {max_age: 0, max_bytes: 1MiB}}}\nagents: {a: {model: m}}"

    seen = loaded(text).config.storage.retention.seen

    assert (seen.max_age, seen.max_count, seen.max_bytes) == (None, 1_000_000, 1 << 20)
