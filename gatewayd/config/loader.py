"""Text → `GatewayConfig`, or every problem at once. Pure: files, environment and adapters enter as arguments.

Called by `--check`, at the start and at every reload, so that what the check accepts is what the daemon takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path as FilePath
from typing import Any, TypeVar

from gatewayd.config import canonical, checks, fields, marks, shape
from gatewayd.config.marks import Entry, Table
from gatewayd.config.model import (
    AgentSection,
    ChannelSection,
    GatewayConfig,
    GatewaySection,
)
from gatewayd.config.named import NAMED
from gatewayd.config.plain import Refused
from gatewayd.config.problems import Path, Place, Problem, Problems, dotted, printable, problem_at, suggest
from gatewayd.config.reader import Findings, Reader, Unset
from gatewayd.config.section import Section
from gatewayd.config.sources import ReadFile, SecretSource, StatFile
from gatewayd.core.errors import GatewayError
from gatewayd.core.secret import Secret
from gatewayd.core.value import value

_Section = TypeVar("_Section", bound=Section)
MAX_MEMBERS = 2000
"""Most agents, channels, clients and webhooks, each."""
SettingsFor = Callable[[str], type[Section] | None]


@value(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file, for this run and its reloads."""

    host: str | None = None
    port: int | None = None
    agents_text: bytes | None = None
    """A file with an `agents:` mapping that is merged in."""
    agents_name: str = "agents.yaml"


@value(frozen=True, slots=True)
class Loaded:
    """A configuration that may be used, and what there is to say about it."""

    config: GatewayConfig
    digest: str
    warnings: tuple[Problem, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """`channels.tg` → why it cannot run now. Such a client is missing from `config`, so that nobody is let in by it."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """`gateway.port` → `gateway.yaml:3`, `flag --port`, `environment VAR`; what is not here is a default."""
    secrets: tuple[Secret, ...] = ()
    """Every secret that was looked up: the log's mask needs them."""


_NO_OVERRIDES = Overrides()


def load(
    text: bytes,
    *,
    name: str,
    settings_for: SettingsFor,
    environ: Mapping[str, str],
    read_file: ReadFile,
    credentials_dir: FilePath | None = None,
    overrides: Overrides = _NO_OVERRIDES,
    known_tools: frozenset[str] = frozenset(),
    known_models: frozenset[str] = frozenset(),
    known_platforms: frozenset[str] = frozenset(),
    check_scope: Callable[[str], None] = lambda _: None,
    check_class: Callable[[str, str, Mapping[str, Any]], object] = lambda *_: None,
    check_function: Callable[[str], object] = lambda _: None,
    stat_file: StatFile | None = None,
    folder: FilePath | None = None,
    world_readable: bool = False,
) -> Loaded:
    """Read the file called `name`; raise `ConfigRefused` with all problems.

    `settings_for` gives the keys of a platform's adapter, or None for a platform that is not known. `known_models` are
    those inside the daemon. Relative paths of secrets start in `folder`, by default the one in `name`.
    `world_readable` says that every user can read the file.
    """
    source = SecretSource(environ, read_file, stat_file, credentials_dir, folder or FilePath(name).parent)
    loading = _Loading(name, source, overrides, settings_for, known_platforms)
    config = loading.read(text)
    found = loading.findings
    subject = checks.Subject(
        config=config,
        agents=loading.agents,
        tools=known_tools,
        models=known_models,
        unresolved=frozenset(found.unresolved),
        check_scope=check_scope,
        check_class=check_class,
        check_function=check_function,
        written=found.written(),
    )
    for finding in checks.check(subject):
        place = found.place(finding.path, name)
        if finding.warning:
            found.remarks.append(problem_at(place, finding.path, finding.what, finding.hint))
        else:
            found.problems.add(place, finding.path, finding.what, finding.hint)
    if found.literal_secrets and world_readable:
        found.doubts.append(problem_at(Place(name), (), "every user can read the secrets in it", f"chmod 640 {name}"))
    unavailable = found.settle(strict=config.gateway.strict)
    return Loaded(
        config=config,
        digest=canonical.digest(config, unavailable),
        warnings=tuple(sorted((*found.remarks, *found.doubts), key=lambda each: (each.file, each.line, each.col))),
        unavailable=unavailable,
        origins={dotted(path): origin for path, origin in found.origins.items()},
        secrets=tuple(found.secrets),
    )


def _settle(found: Findings, *, strict: bool) -> dict[str, str]:
    """Raise what is a problem, and give what is unavailable with its reasons."""
    if strict:
        for problem in (*found.doubts, *(problem for _, problem in found.gone)):
            found.problems.take(problem)
    found.problems.raise_any()
    reasons: dict[str, list[str]] = {}
    for part, problem in found.gone:
        reason = f"{problem.what}: {problem.path} in {problem.file}:{problem.line}"
        known = reasons.setdefault(dotted(part), [])
        if reason not in known:
            known.append(reason)
    return {part: "; ".join(each) for part, each in sorted(reasons.items())}


class _Loading:
    """One load: walks the root, part by part."""

    def __init__(
        self,
        file: str,
        source: SecretSource,
        overrides: Overrides,
        settings_for: SettingsFor,
        known_platforms: frozenset[str],
    ) -> None:
        self._file = file
        self._overrides = overrides
        self._settings_for = settings_for
        self._known_platforms = known_platforms
        self.findings = Findings(Problems())
        self.agents: frozenset[str] = frozenset()
        self._reader = Reader(source, self.findings)

    def read(self, text: bytes) -> GatewayConfig:
        root = self._root(text)
        sections: dict[str, Any] = {"gateway": self._gateway(root)}
        for key in ("provider", "storage", "bus", "push", "runtime"):
            section = shape.section_of(shape.keys(GatewayConfig)[key])
            if section is not None and key in root.entries:
                sections[key] = self._part(section, root.entries[key], (key,), Unset.REFUSE)
        agents = self._with_flag(self._entries(root, "agents"))
        self.agents = frozenset(agents)
        sections["agents"] = {
            key: self._part(AgentSection, entry, ("agents", key), Unset.DEGRADE) for key, entry in agents.items()
        }
        sections["channels"] = {key: self._channel(key, one) for key, one in self._entries(root, "channels").items()}
        for key, kind, unset in NAMED:
            sections[key] = {
                name: self._part(kind, entry, (key, name), unset) for name, entry in self._entries(root, key).items()
            }
        gone = {part for part, _ in self.findings.gone}
        for key in ("agents", "channels", *(key for key, _, _ in NAMED)):
            kept = {name: part for name, part in sections[key].items() if part is not None}
            sections[key] = {name: part for name, part in kept.items() if key != "clients" or (key, name) not in gone}
        return GatewayConfig(**{key: value for key, value in sections.items() if value is not None})

    def _root(self, text: bytes) -> Table:
        problems = self.findings.problems
        node = marks.parse(text, self._file, problems)
        if node is None:
            if self._overrides.agents_text is None:
                hint = "gateway.quickstart.yaml is one to start from"
                problems.add(Place(self._file, 1, 1), (), "the file says nothing", hint)
                problems.raise_any()
            return Table(Place(self._file, 1, 1))
        root = self._reader.entries(node, ())
        if root is None:
            problems.raise_any()
            return Table(node.place)
        known = shape.keys(GatewayConfig)
        for key, entry in root.entries.items():
            self.findings.keys[(key,)] = entry.place
            if key not in known:
                hint = GatewayConfig.HINTS.get(key) or suggest(key, known, "sections")
                problems.add(entry.place, (key,), "unknown key", hint)
        return root

    def _gateway(self, root: Table) -> GatewaySection | None:
        self._reader.begin(("gateway",), Unset.REFUSE)
        data: dict[str, Any] = {}
        if "gateway" in root.entries:
            table = self._reader.entries(root.entries["gateway"].node, ("gateway",))
            data = self._reader.data(GatewaySection, table, ("gateway",)) if table else {}
        for key, given in (("host", self._overrides.host), ("port", self._overrides.port)):
            if given is not None:
                data[key] = given
                self.findings.values[("gateway", key)] = Place(f"--{key}")
                self.findings.origins[("gateway", key)] = f"flag --{key}"
                self.findings.unresolved.discard(("gateway", key))
        return self._reader.build(GatewaySection, data, ("gateway",), self._file)

    def _part(self, section: type[_Section], entry: Entry, path: Path, unset: Unset) -> _Section | None:
        self._reader.begin(path, unset)
        table = self._reader.entries(entry.node, path)
        if table is None:
            return None
        return self._reader.build(section, self._reader.data(section, table, path), path, self._file)

    def _entries(self, root: Table, key: str) -> dict[str, Entry]:
        """The named parts of a section, without those whose name cannot be one."""
        table = self._reader.entries(root.entries[key].node, (key,)) if key in root.entries else None
        entries = table.entries if table else {}
        if len(entries) > MAX_MEMBERS:
            what = f"{len(entries)} {key}; at most {MAX_MEMBERS} are taken"
            self.findings.problems.add(self.findings.values[(key,)], (key,), what)
            return {}
        good = {}
        for name, entry in entries.items():
            self.findings.keys[(key, name)] = entry.place
            try:
                good[fields.name(name)] = entry
            except Refused as refused:
                self.findings.problems.add(entry.place, (key, name), f"'{printable(name)}' is not {refused.wanted}")
        return good

    def _with_flag(self, agents: dict[str, Entry]) -> dict[str, Entry]:
        """The agents, with those of `--agents FILE`."""
        text, file = self._overrides.agents_text, self._overrides.agents_name
        if text is None:
            return agents
        node = marks.parse(text, file, self.findings.problems)
        table = node if isinstance(node, Table) else None
        if table is None or set(table.entries) != {"agents"}:
            place = node.place if node else Place(file, 1, 1)
            what = "the file of --agents holds one key, agents:, and nothing else"
            self.findings.problems.add(place, (), what, "write agents: and the agents below it")
            return agents
        for name, entry in self._entries(table, "agents").items():
            if name in agents:
                what = f"there are two agents {name}: the other is at {agents[name].place}"
                self.findings.problems.add(entry.place, ("agents", name), what, "rename one of them")
            else:
                agents[name] = entry
        return agents

    def _channel(self, name: str, entry: Entry) -> ChannelSection | None:
        path = ("channels", name)
        self._reader.begin(path, Unset.DEGRADE)
        table = self._reader.entries(entry.node, path)
        if table is None:
            return None
        if "enabled" in table.entries:
            enabled = self._reader.value(bool, table.entries["enabled"].node, (*path, "enabled"))
            self._reader.begin(path, Unset.IGNORE if enabled is False else Unset.DEGRADE)
        shared = {*shape.keys(ChannelSection), *ChannelSection.ALIASES}
        common = Table(table.place, {key: each for key, each in table.entries.items() if key in shared})
        data = self._reader.data(ChannelSection, common, path)
        rest = {key: each for key, each in table.entries.items() if key not in shared}
        platform = data.setdefault("platform", name.lower())
        if (*path, "platform") not in self.findings.unresolved:
            data["settings"] = self._settings(str(platform), Table(table.place, rest), path, shared)
        return self._reader.build(ChannelSection, data, path, self._file)

    def _settings(self, platform: str, table: Table, path: Path, shared: set[str]) -> Section | None:
        """The keys of a channel that belong to its platform's adapter."""
        place = self.findings.place((*path, "platform"), self._file)
        try:
            section = self._settings_for(platform)
        except GatewayError as error:
            self.findings.problems.add(place, (*path, "platform"), error.message)
            return None
        if section is None:
            hint = suggest(platform, self._known_platforms, "platforms")
            what = f"there is no platform {printable(platform)}"
            self.findings.problems.add(place, (*path, "platform"), what, hint)
            return None
        if not issubclass(section, Section):  # an adapter comes from anywhere
            what = f"the adapter of {printable(platform)} is broken: its Settings are not derived from Section"
            self.findings.problems.add(place, (*path, "platform"), what)
            return None
        own = shape.keys(section)
        for key in [each for each in table.entries if each in ChannelSection.HINTS and each not in own]:
            place = table.entries.pop(key).place
            self.findings.problems.add(place, (*path, key), "unknown key", ChannelSection.HINTS[key])
        data = self._reader.data(section, table, path, also=shared)
        return self._reader.build(section, data, path, self._file)
