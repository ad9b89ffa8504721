"""Rules that span sections. Each yields what is wrong by path; the loader knows where that stands in the file.

Every rule is a generator of `Finding` over one `Subject`; to add one, write it and put it into `RULES`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gatewayd.config import listening
from gatewayd.config.entry_points import faults
from gatewayd.config.goals import goal_faults
from gatewayd.config.graph_rules import Known, graph_faults
from gatewayd.config.model import GatewayConfig, Retention
from gatewayd.config.problems import Path, suggest
from gatewayd.config.section import settings_of
from gatewayd.core.errors import GatewayError
from gatewayd.core.secret import Secret
from gatewayd.core.value import value

RESERVED_CLIENTS: Final = {
    "default": "that is the client of gateway.auth_token",
    "local": "that is whoever connects through the unix socket",
}


@value(frozen=True, slots=True)
class Finding:
    """What is wrong at a path; a `warning` does not stop anything."""

    path: Path
    what: str
    hint: str = ""
    warning: bool = False


@value(frozen=True, slots=True)
class Subject:
    """A configuration to be checked; parts that could not be read are missing from `config` and named here."""

    config: GatewayConfig
    agents: frozenset[str]
    """All agents that the file names, readable or not."""
    tools: frozenset[str]
    models: frozenset[str]
    """All models that are answered inside the daemon; others are the network's business."""
    unresolved: frozenset[Path]
    """Values that could not be looked up: a rule says nothing about them."""
    check_scope: Callable[[str], None]
    check_class: Callable[[str, str, Mapping[str, Any]], object] = lambda *_: None
    """Of a Python agent: name, class and options; raises what is wrong with them."""
    check_function: Callable[[str], object] = lambda _: None
    """Of a graph's node: raises what is wrong with it."""
    written: frozenset[Path] = frozenset()
    """Keys that the file has, with a value."""

    def lacks(self, section: str, name: str) -> bool:
        """Whether something of that part could not be looked up; it may be missing from `config` for that."""
        return any(path[:2] == (section, name) for path in self.unresolved)


def check(subject: Subject) -> Iterator[Finding]:
    """Everything that the rules find."""
    for rule in RULES:
        yield from rule(subject)


def _listening(subject: Subject) -> Iterator[Finding]:
    """Both listeners: nobody from another machine, where what they say could be read on the way."""
    for path, what, hint in listening.faults(subject.config, subject.unresolved):
        yield Finding(path, what, hint)


def _routes(subject: Subject) -> Iterator[Finding]:
    for name, channel in subject.config.channels.items():
        path: Path = ("channels", name)
        if not channel.routing and not any(each[:3] == (*path, "routing") for each in subject.unresolved):
            hint = "write routing: {default: AGENT}; " + suggest("", subject.agents, "agents")
            yield Finding((*path, "routing"), "no agent answers on this channel", hint)
        for context, agent in channel.routing.items():
            if agent not in subject.agents:
                hint = suggest(agent, subject.agents, "agents")
                yield Finding((*path, "routing", context), f"there is no agent {agent}", hint)


def _models(subject: Subject) -> Iterator[Finding]:
    shared = subject.config.provider.model
    named: list[tuple[Path, str | None]] = [(("provider", "model"), shared)]
    for name, agent in subject.config.agents.items():
        path: Path = ("agents", name, "model")
        if not agent.is_model:
            continue
        if not (agent.model or shared) and not subject.unresolved & {path, ("provider", "model")}:
            hint = "name one here or in provider.model; offline/assistant needs no account"
            yield Finding(path, "the agent has no model", hint)
        named.append((path, agent.model))
        named += [((*path[:2], "fallback_models", number), each) for number, each in enumerate(agent.fallback_models)]
    inside = {model.partition("/")[0] for model in subject.models}
    for path, model in named:
        if model and "/" in model and model.partition("/")[0] in inside and model not in subject.models:
            yield Finding(path, f"there is no model {model}", suggest(model, subject.models, "models of the daemon"))


def _tools(subject: Subject) -> Iterator[Finding]:
    for name, agent in subject.config.agents.items():
        path: Path = ("agents", name, "tools")
        if not agent.is_model:
            continue
        for number, tool in enumerate(agent.tools or ()):
            if tool not in subject.tools:
                yield Finding((*path, number), f"there is no tool {tool}", suggest(tool, subject.tools, "tools"))
        if agent.tools == () and agent.tool_choice == "required":
            what = "a tool call is required, but the agent has no tools"
            yield Finding((*path[:2], "tool_choice"), what, "name tools, or write tool_choice: auto")


def _kinds(subject: Subject) -> Iterator[Finding]:
    """Agents that no model answers for."""
    keys: defaultdict[Path, set[str]] = defaultdict(set)
    for each in subject.written:
        if len(each) == 3 and each[0] == "agents":
            keys[each[:2]].add(str(each[2]))
    for name, agent in subject.config.agents.items():
        path: Path = ("agents", name)
        written = frozenset(keys[path])
        hint = "take the key out" if agent.is_model else "take the key out, or let a model answer"
        for key, what in agent.out_of_kind(written):
            yield Finding((*path, key), what, hint)
        if agent.python_class and not any(each[:2] == path for each in subject.unresolved):
            try:
                subject.check_class(name, agent.python_class, agent.options)
            except GatewayError as error:
                yield Finding((*path, "class"), error.message)


def _clients(subject: Subject) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, client in subject.config.clients.items():
        path: Path = ("clients", name)
        if name in RESERVED_CLIENTS:
            yield Finding(path, f"a client may not be called {name}", RESERVED_CLIENTS[name])
        for number, digest in enumerate(client.token_sha256):
            if seen.setdefault(digest, name) != name:
                what = f"the client {seen[digest]} has the same token"
                yield Finding((*path, "token_sha256", number), what, "give each client a token of its own")
            elif client.token_sha256.index(digest) != number:
                yield Finding((*path, "token_sha256", number), "the same token is given twice", "keep one of them")
        for number, scope in enumerate(client.scopes):
            try:
                subject.check_scope(scope)
            except GatewayError as error:
                yield Finding(
                    (*path, "scopes", number), error.message, "such as agents.send:*, sessions:own, admin.read"
                )


def _retention(subject: Subject) -> Iterator[Finding]:
    retention = subject.config.storage.retention
    for name in settings_of(retention):
        table: Retention = getattr(retention, name)
        if table.max_age is None and table.max_count is None and table.max_bytes is None:
            path = ("storage", "retention", name)
            yield Finding(path, "nothing bounds this table", "leave one of max_age, max_count and max_bytes above 0")


def _push(subject: Subject) -> Iterator[Finding]:
    presence = subject.config.push.presence
    if presence.offline_timeout <= presence.heartbeat_interval:
        what = "a client would count as gone before its next sign of life is due"
        hint = "make it longer than push.presence.heartbeat_interval; three times as long is usual"
        yield Finding(("push", "presence", "offline_timeout"), what, hint)


def _webhooks(subject: Subject) -> Iterator[Finding]:
    """Whoever may send is proved by a secret; without one, only who is on this machine, and only where that is said."""
    paths: dict[str, str] = {}
    for name, hook in subject.config.webhooks.items():
        here: Path = ("webhooks", name)
        if paths.setdefault(hook.path, name) != name:
            what = f"webhooks.{paths[hook.path]} and webhooks.{name} have the same path {hook.path}"
            yield Finding((*here, "path"), what, "give each source a path of its own")
        if hook.secrets and hook.insecure_no_secret:
            yield Finding((*here, "insecure_no_secret"), "there is a secret, too", "keep one of the two")
        if not hook.secrets and not hook.insecure_no_secret and (*here, "secret") not in subject.unresolved:
            hint = f"secret: ${{{name.upper().replace('-', '_').replace('.', '_')}_SECRET}}; on loopback alone, to try "
            yield Finding(here, "there is no secret: anybody could send", hint + "things out, insecure_no_secret: true")
        if hook.insecure_no_secret:
            host = subject.config.gateway.http.host
            if listening.is_loopback(host) is False:
                what = f"this is for loopback only: {host} can be reached from other machines"
                yield Finding((*here, "insecure_no_secret"), what, "give it a secret")
        if hook.scheme == "standard" and len(hook.keys()) < len(hook.secrets):
            hint = "as the sender shows it: whsec_ and then base64"
            yield Finding((*here, "secret"), "a secret of the scheme standard is base64, and this one is not", hint)


def _entry_points(subject: Subject) -> Iterator[Finding]:
    for name, entry in subject.config.entry_points.items():
        for key, channel in (
            (("trigger_config", "channel"), entry.trigger_config.channel),
            (("channel",), entry.channel),
        ):
            if channel is not None and channel not in subject.config.channels:
                hint = suggest(channel, subject.config.channels, "channels")
                yield Finding(("entry_points", name, *key), f"there is no channel {channel}", hint)
        if entry.goal is not None and entry.goal not in subject.config.goals and not subject.lacks("goals", entry.goal):
            hint = suggest(entry.goal, subject.config.goals, "goals")
            yield Finding(("entry_points", name, "goal"), f"there is no goal {entry.goal}", hint)
        source = entry.trigger_config.source_id
        if source is not None and source not in subject.config.webhooks and not subject.lacks("webhooks", source):
            path = ("entry_points", name, "trigger_config", "source_id")
            yield Finding(path, f"there is no webhook {source}", suggest(source, subject.config.webhooks, "webhooks"))
        if not subject.lacks("entry_points", name):
            yield from (Finding(*fault) for fault in faults(name, entry))


def _goals(subject: Subject) -> Iterator[Finding]:
    for name, goal in subject.config.goals.items():
        yield from (Finding(*fault) for fault in goal_faults(name, goal))


def _graphs(subject: Subject) -> Iterator[Finding]:
    known = Known(subject.agents, subject.tools, subject.check_function, subject.lacks)
    yield from (Finding(*fault) for fault in graph_faults(subject.config, known))


def _separate_secrets(subject: Subject) -> Iterator[Finding]:
    """One secret for two purposes opens the second door to whoever learns it at the first (security.md, I6)."""
    tokens: dict[Secret, str] = {}
    owners: dict[Secret, tuple[str, str]] = {}
    for realm, path, secret in secrets_of(subject.config):
        where = ".".join(str(step) for step in path)
        if realm == "channels" and str(path[-1]).endswith("token"):
            if secret in tokens:
                what = f"the same token as {tokens[secret]}"
                yield Finding(path, what, "a platform lets one connection use a token: give each channel its own")
                continue
            tokens[secret] = where
        known = owners.setdefault(secret, (realm, where))
        if known[0] != realm:
            yield Finding(path, f"the same secret as {known[1]}", "use a secret for one purpose only")
    for name, client in subject.config.clients.items():
        digests = set(client.token_sha256)
        for secret, (_, where) in owners.items():
            if hashlib.sha256(secret.reveal().encode()).hexdigest() in digests:
                path = ("clients", name, "token_sha256")
                yield Finding(path, f"this is the token of {where}", "give the client a token of its own")


def secrets_of(config: GatewayConfig) -> Iterator[tuple[str, Path, Secret]]:
    """Realm, path and secret of every secret of the configuration, in the order of the sections."""
    if config.gateway.auth_token:
        yield "gateway", ("gateway", "auth_token"), config.gateway.auth_token
    if config.provider.api_key:
        yield "models", ("provider", "api_key"), config.provider.api_key
    for name, agent in config.agents.items():
        if agent.api_key:
            yield "models", ("agents", name, "api_key"), agent.api_key
    for name, channel in config.channels.items():
        if channel.settings is None or not channel.enabled:
            continue
        given = ((key, getattr(channel.settings, key)) for key in settings_of(channel.settings))
        yield from (("channels", ("channels", name, key), one) for key, one in given if isinstance(one, Secret) and one)
    for name, hook in config.webhooks.items():
        for secret in hook.secrets:
            yield "webhooks", ("webhooks", name, "secret"), secret


def _silence(subject: Subject) -> Iterator[Finding]:
    if not subject.agents:
        hint = "add one under agents:, such as {assistant: {model: offline/assistant}}"
        yield Finding(("agents",), "no agents: nothing can answer", hint, warning=True)


RULES: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    _listening,
    _routes,
    _models,
    _tools,
    _kinds,
    _clients,
    _retention,
    _push,
    _webhooks,
    _entry_points,
    _goals,
    _graphs,
    _separate_secrets,
    _silence,
)
