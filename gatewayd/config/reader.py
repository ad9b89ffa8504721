"""One part of the tree → one section: keys, variables, secrets, values; every problem with its place.

A part is what can be unavailable as a whole: the gateway section, one agent, one channel, one client.
"""

from collections.abc import Collection, Mapping
from dataclasses import field
from enum import Enum
from typing import Any, Final, TypeVar

from gatewayd.config import scalars, shape, verdicts
from gatewayd.config.checking import Unfit, Wrong, read
from gatewayd.config.marks import Broken, Items, Node, Scalar, Table
from gatewayd.config.pems import find_pem
from gatewayd.config.problems import Path, Place, Problem, Problems, dotted, problem_at, suggest
from gatewayd.config.section import Section
from gatewayd.config.sources import Missing, SecretSource, unset
from gatewayd.core.secret import Secret
from gatewayd.core.value import record

_Section = TypeVar("_Section", bound=Section)
_ABSENT: Final = object()
"""Stands for a value that is not there: null, or one that could not be looked up."""
MAX_ITEMS: Final = 2000
"""Longest list."""
_MERGE: Final = "merge keys are off: write the keys out"


class Unset(Enum):
    """What it means when a variable or a secret of a part is not there."""

    REFUSE = "refuse"
    """A problem: the part guards a door, or nothing works without it."""
    DEGRADE = "degrade"
    """The part is unavailable."""
    IGNORE = "ignore"
    """The part is switched off: nothing is looked up."""


@record(slots=True)
class Findings:
    """What reading brings to light besides values."""

    problems: Problems
    remarks: list[Problem] = field(default_factory=list)
    """Warnings."""
    doubts: list[Problem] = field(default_factory=list)
    """Warnings; with `gateway.strict` they are problems."""
    gone: list[tuple[Path, Problem]] = field(default_factory=list)
    """Part and reason for everything that is not there now; with `gateway.strict` they are problems."""
    unresolved: set[Path] = field(default_factory=set)
    """Values that could not be looked up."""
    origins: dict[Path, str] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    empty: set[Path] = field(default_factory=set)
    """Keys that are null, which is as if they were absent."""
    secrets: list[Secret] = field(default_factory=list)
    literal_secrets: bool = False

    def written(self) -> frozenset[Path]:
        """Keys that have a value; null is none."""
        return frozenset(self.keys.keys() - self.empty)

    def place(self, path: Path, file: str, *, of_key: bool = False) -> Place:
        """Where a path stands, or the nearest thing around it that stands somewhere."""
        if not of_key and path in self.values:
            return self.values[path]
        for length in range(len(path), 0, -1):
            if path[:length] in self.keys:
                return self.keys[path[:length]]
            if path[:length] in self.values:
                return self.values[path[:length]]
        return Place(file, 1, 1)

    def settle(self, *, strict: bool) -> dict[str, str]:
        """Raise what is a problem, and give what is unavailable with its reasons."""
        if strict:
            for problem in (*self.doubts, *(problem for _, problem in self.gone)):
                self.problems.take(problem)
        self.problems.raise_any()
        reasons: dict[str, list[str]] = {}
        for part, problem in self.gone:
            reason = f"{problem.what}: {problem.path} in {problem.file}:{problem.line}"
            known = reasons.setdefault(dotted(part), [])
            if reason not in known:
                known.append(reason)
        return {part: "; ".join(each) for part, each in sorted(reasons.items())}


class Reader:
    """Reads the parts of one file."""

    def __init__(self, source: SecretSource, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._part: Path = ()
        self._unset = Unset.REFUSE
        self._hidden: dict[Path, str] = {}
        """Values that came from a variable, and which one: they are never shown."""

    def begin(self, part: Path, unset: Unset) -> None:
        """What is read from here on belongs to that part."""
        self._part, self._unset = part, unset

    def entries(self, node: Node, path: Path) -> Table | None:
        """The node as a mapping; null is an empty one, anything else a problem."""
        self._findings.values.setdefault(path, node.place)
        if isinstance(node, Table):
            return node
        if isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null"):
            return Table(node.place)
        if isinstance(node, Broken):
            self._findings.unresolved.add(path)
            return None
        kind = "a list" if isinstance(node, Items) else verdicts.show(node.text)
        self._findings.problems.add(node.place, path, f"{kind} is not a mapping (`key: value` lines)")
        return None

    def data(self, section: type[Section], table: Table, path: Path, also: Collection[str] = ()) -> dict[str, Any]:
        """The values of a mapping by key. `also`: further keys to suggest for one that is unknown."""
        known = shape.keys(section)
        aliases: Mapping[str, str] = section.ALIASES
        read: dict[str, Any] = {}
        written: dict[str, str] = {}
        for spelled, entry in table.entries.items():
            key = aliases.get(spelled, spelled)
            if key not in known:
                self._unknown(section, spelled, entry.place, path, {*known, *aliases, *also})
                continue
            if key in written:
                what = f"{spelled} is another name for {written[key]}, and both are given"
                self._findings.problems.add(entry.place, (*path, spelled), what, f"keep {key}")
                continue
            written[key] = spelled
            self._findings.keys[(*path, key)] = entry.place
            value = self.value(known[key], entry.node, (*path, key))
            if value is not _ABSENT:
                read[key] = value
        return read

    def build(self, section: type[_Section], data: dict[str, Any], path: Path, file: str) -> _Section | None:
        """The section, with the problems noted; without the values that are wrong, so that the rest can be checked.

        None when there can be none: what is wrong or could not be looked up is needed.
        """
        try:
            return read(section, data)
        except Unfit as error:
            wrongs = error.wrongs
        for each in wrongs:
            self._note(each, path, file)
        wrong = {str(each.path[0]) for each in wrongs if each.path}
        self._findings.unresolved.update((*path, key) for key in wrong)
        try:
            return read(section, {key: value for key, value in data.items() if key not in wrong})
        except Unfit:
            return None

    def value(self, annotation: Any, node: Node, path: Path) -> Any:
        """The value of a node according to what its key wants."""
        self._findings.values[path] = node.place
        if isinstance(node, Broken):
            self._findings.unresolved.add(path)
            return _ABSENT
        if isinstance(node, Scalar):
            return self._scalar(annotation, node, path)
        if isinstance(node, Items):
            if len(node.nodes) > MAX_ITEMS:
                what = f"a list of {len(node.nodes)}; at most {MAX_ITEMS} are taken"
                self._findings.problems.add(node.place, path, what)
                self._findings.unresolved.add(path)
                return _ABSENT
            member = shape.member_of(annotation)
            found = [self.value(member, each, (*path, number)) for number, each in enumerate(node.nodes)]
            if any((*path, number) in self._findings.unresolved for number in range(len(found))):
                self._findings.unresolved.add(path)
                return _ABSENT
            return [None if each is _ABSENT else each for each in found]
        if section := shape.section_of(annotation):
            return self.data(section, node, path)
        member = shape.member_of(annotation)
        read = {}
        for key, entry in node.entries.items():
            self._findings.keys[(*path, key)] = entry.place
            value = self.value(member, entry.node, (*path, key))
            if value is not _ABSENT:
                read[key] = value
        return read

    def _scalar(self, annotation: Any, node: Scalar, path: Path) -> Any:
        try:
            value = scalars.plain(node.text) if node.plain else node.text
            if value is None:
                self._findings.empty.add(path)
                return _ABSENT
            self._findings.origins[path] = f"{node.place.file}:{node.place.line}"
            if not isinstance(value, str):
                return value
            if shape.is_secret(annotation):
                return self._secret(value, node.place, path)
            if shape.is_pem(annotation):
                return self._pem(value, node.place, path)
            return self._text(annotation, value, path)
        except scalars.Unreadable as error:
            self._findings.problems.add(node.place, path, error.what, error.hint)
            self._findings.unresolved.add(path)
        except Missing as error:
            self._missing(error, node.place, path)
        return _ABSENT

    def _text(self, annotation: Any, written: str, path: Path) -> Any:
        if "${" not in written:
            return written
        expanded = scalars.expand(written, {} if self._unset is Unset.IGNORE else self._source.environ)
        if expanded.unset:
            raise unset(expanded.unset)
        if not expanded.text:
            return _ABSENT
        if expanded.used:
            self._hidden[path] = " and ".join(f"${{{name}}}" for name in expanded.used)
            self._findings.origins[path] = "environment " + ", ".join(expanded.used)
        return expanded.text if shape.is_text(annotation) else scalars.plain(expanded.text)

    def _secret(self, written: str, place: Place, path: Path) -> Any:
        if self._unset is Unset.IGNORE and ("${" in written or written.startswith(("file:", "credential:"))):
            raise Missing("not looked up", "")
        found = self._source.find(written)
        if found is None:
            return _ABSENT
        if found.origin:
            self._findings.origins[path] = found.origin
        else:
            self._findings.literal_secrets = True
        if found.doubt:
            self._findings.doubts.append(problem_at(place, path, found.doubt, found.hint))
        self._findings.secrets.append(found.secret)
        return found.secret

    def _pem(self, written: str, place: Place, path: Path) -> Any:
        pem, doubt, hint = find_pem(self._source, written)
        self._findings.origins[path] = f"file {pem.path}"
        if doubt:
            self._findings.doubts.append(problem_at(place, path, doubt, hint))
        return pem

    def _missing(self, error: Missing, place: Place, path: Path) -> None:
        self._findings.unresolved.add(path)
        self._findings.origins.pop(path, None)
        if self._unset is Unset.IGNORE:
            return
        guards = self._part[:1] == ("clients",) and len(path) > 2 and path[2] in ("token_sha256", "expires")
        if self._unset is Unset.REFUSE or guards:
            self._findings.problems.add(place, path, error.what, error.hint)
        else:
            self._findings.gone.append((self._part, problem_at(place, path, error.what, error.hint)))

    def _unknown(self, section: type[Section], key: str, place: Place, path: Path, known: Collection[str]) -> None:
        hint = section.HINTS.get(key, "") or (_MERGE if key == "<<" else suggest(key, known, "keys"))
        self._findings.problems.add(place, (*path, key), "unknown key", hint)

    def _note(self, wrong: Wrong, part: Path, file: str) -> None:
        path = (*part, *wrong.path)
        around = [path[:length] for length in range(len(part), len(path) + 1)]
        if any(each in self._findings.unresolved for each in around):
            return
        if not wrong.path and any(each[: len(part)] == part for each in self._findings.unresolved):
            return
        hidden = next((self._hidden[each] for each in around if each in self._hidden), "")
        shown = f"the value of {hidden}" if hidden else verdicts.show(wrong.value)
        what, hint = verdicts.explain(wrong, shown)
        self._findings.problems.add(self._findings.place(path, file, of_key=wrong.of_key), path, what, hint)
