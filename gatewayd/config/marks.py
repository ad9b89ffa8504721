"""YAML text → a tree that knows the line and column of everything. The only module that imports yaml.

The tree is built from the parser's events with a stack of our own, so that depth and size are bounded while reading.
No tag, anchor or alias is accepted, a key is text, and a mapping has each key once. What a scalar means is decided in
`scalars`, not by YAML 1.1.
"""

import re
from collections.abc import Iterator
from dataclasses import field

import yaml

from gatewayd.config.problems import ConfigRefused, Place, Problems, printable, problem_at
from gatewayd.core.value import value

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_KEY = 256

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
"""What a file of YAML may not have, besides surrogates, which no UTF-8 has. To name what it may have takes twenty times
as long to compile."""
_NO_ALIAS = "anchors and aliases are off"
_EXPLAINED = {
    "mapping values are not allowed": (
        "this ': ' does not fit here",
        "text that contains ': ' needs quotes; or this line is indented too far, or a line above has no ': '",
    ),
    "did not find expected key": (
        "this line does not fit the lines above it",
        "start the keys of one mapping in one column, and close quotes and brackets",
    ),
    "could not find expected ':'": ("a key without a ': ' after it", "write `key: value`"),
    "did not find expected '-' indicator": (
        "this line does not fit the list above it",
        "start the entries of one list in one column",
    ),
    "block sequence entries are not allowed": ("a list may not start here", "begin the list on a line of its own"),
    "did not find expected node content": (
        "a value is missing here, or a bracket before it is not closed",
        "close every [ and {, and put text that begins with a sign into quotes",
    ),
    "incompatible YAML document": ("a version of YAML that is not known", "remove the line that begins with '%'"),
    "did not find expected ',' or ']'": ("this list is not closed", "add the missing ']' or ','"),
    "did not find expected ',' or '}'": (
        "this mapping is not closed",
        "add the missing '}' or ','; inside braces ${VAR} needs quotes",
    ),
    "found unexpected end of stream": ("this quote is not closed", "add the missing quote"),
    "found unknown escape character": (
        "an unknown escape in a text in double quotes",
        "use single quotes, or write \\\\ for a backslash",
    ),
    "hexdecimal number": ("an unknown escape in a text in double quotes", "use single quotes"),
    "undefined alias": (_NO_ALIAS, "write the value out"),
    "undefined tag handle": ("tags are off", "write the value without the tag"),
    "did not find expected alphabetic": (_NO_ALIAS, "put text that begins with '*' or '&' into quotes"),
    "did not find expected comment or line break": ("text behind a block sign", "begin the text on the next line"),
    "did not find expected <document start>": ("text behind the end of the document", "start all keys in column 1"),
}


@value(frozen=True, slots=True)
class Scalar:
    """A single value as it is written; `plain` when it stands without quotes."""

    place: Place
    text: str
    plain: bool


@value(frozen=True, slots=True)
class Broken:
    """A value that is not taken, of which enough is said already."""

    place: Place


@value(frozen=True, slots=True)
class Items:
    place: Place
    nodes: list["Node"] = field(default_factory=list)


@value(frozen=True, slots=True)
class Entry:
    """A key of a mapping with its value."""

    place: Place
    node: "Node"


@value(frozen=True, slots=True)
class Table:
    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)


Node = Scalar | Items | Table | Broken


def parse(text: bytes, file: str, problems: Problems) -> Node | None:
    """The tree of the only document; None when the file says nothing.

    What cannot be read raises `ConfigRefused` at once; what can be read but is not allowed goes to `problems`.
    """
    decoded = _decode(text, file)
    try:
        node = _Builder(file, problems).build(yaml.parse(decoded, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _explained(error, file, decoded) from None
    except yaml.YAMLError as error:
        raise _refused(Place(file, 1, 1), f"not readable as YAML: {printable(str(error), 200)}") from None
    return None if isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null") else node


def _refused(place: Place, what: str, hint: str = "") -> ConfigRefused:
    return ConfigRefused([problem_at(place, (), what, hint)])


def _decode(text: bytes, file: str) -> str:
    if len(text) > MAX_BYTES:
        raise _refused(Place(file, 1, 1), f"the file has {len(text)} bytes; at most {MAX_BYTES} are read")
    for mark, encoding in ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if text.startswith(mark):
            what = f"the file begins with a byte order mark of {encoding}"
            raise _refused(Place(file, 1, 1), what, "save it as UTF-8 without a byte order mark")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
        what = f"byte 0x{text[error.start]:02x} is not UTF-8"
        raise _refused(_place_of(before, file), what, "save the file as UTF-8") from None
    if match := _FORBIDDEN.search(decoded):
        what = f"control character U+{ord(match[0]):04X}"
        raise _refused(_place_of(decoded[: match.start()], file), what, "remove it")
    return decoded


def _short(tag: str) -> str:
    return printable(tag.replace("tag:yaml.org,2002:", "!!"))


def _place_of(before: str, file: str) -> Place:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Place(file, len(lines), len(lines[-1]) + 1)


def _explained(error: yaml.MarkedYAMLError, file: str, text: str) -> ConfigRefused:
    """libyaml's error in words, at the place that has to be changed."""
    problem = error.problem or ""
    opened = any(word in (error.context or "") for word in ("quoted scalar", "flow"))
    mark = (error.context_mark if opened and error.context_mark else error.problem_mark) or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    if "cannot start any token" in problem and mark:
        lines = text.splitlines() or [""]
        line = lines[mark.line] if mark.line < len(lines) else ""
        if line[mark.column : mark.column + 1] == "\t":
            return _refused(place, "a tab in the indentation", "indent with spaces")
        found = printable(line[mark.column : mark.column + 1])
        return _refused(place, f"a value may not begin with {found}", "put the text into quotes")
    for known, (what, hint) in _EXPLAINED.items():
        if known in problem:
            return _refused(place, what, hint)
    return _refused(place, f"not readable as YAML: {printable(problem, 200)}")


class _Builder:
    """Takes events, keeps the open collections on a stack, and checks each bound as it goes."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[Items | Table] = []
        self._keys: list[tuple[str, Place] | None] = []
        """For each open collection, the key that waits for its value."""
        self._path: list[str | int] = []
        """For each open collection, its key or number in the one around it; the root has none."""
        self._root: Node | None = None
        self._nodes = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        documents = 0
        for event in events:
            mark = event.start_mark
            place = Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file, 1, 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refused(place, "a second document begins here", "one file holds one document; remove '---'")
            elif isinstance(event, yaml.CollectionEndEvent):
                self._stack.pop()
                self._keys.pop()
                del self._path[max(0, len(self._stack) - 1) :]
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, place)
        return self._root

    def _node(self, event: yaml.NodeEvent, place: Place) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _refused(place, f"the file has more than {MAX_NODES} values")
        off = self._off(event, place)
        if isinstance(event, yaml.ScalarEvent):
            self._place(Broken(place) if off else Scalar(place, event.value, not event.style), place)
        elif isinstance(event, yaml.AliasEvent):
            self._place(Broken(place), place)
        else:
            if len(self._stack) >= MAX_DEPTH:
                raise _refused(place, f"nested deeper than {MAX_DEPTH} levels")
            opened = Table(place) if isinstance(event, yaml.MappingStartEvent) else Items(place)
            inside = self._inside()
            self._place(Broken(place) if off else opened, place)
            self._path += inside
            self._stack.append(opened)
            self._keys.append(None)

    def _off(self, event: yaml.NodeEvent, place: Place) -> bool:
        """Whether the event is an alias or carries a tag, and so has no value; an anchor alone harms nothing else."""
        tag = getattr(event, "tag", None)
        if event.anchor is not None:
            hint = "write the value out where it is used"
            self._problems.add(place, self._here(), f"{_NO_ALIAS}: {printable(event.anchor)}", hint)
        if tag is not None:
            hint = "write the value without the tag; quotes make text"
            self._problems.add(place, self._here(), f"tags are off: {_short(tag)}", hint)
        return tag is not None or isinstance(event, yaml.AliasEvent)

    def _place(self, node: Node, place: Place) -> None:
        """Put the node where it belongs: the root, an item, a key, or the value of the key before."""
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        if isinstance(parent, Items):
            parent.nodes.append(node)
            return
        waiting = self._keys[-1]
        if waiting is None:
            self._keys[-1] = (self._key(node, place), place)
            return
        key, key_place = waiting
        self._keys[-1] = None
        if key in parent.entries:
            first = parent.entries[key].place
            what = f"the key is given twice: first in line {first.line}, column {first.col}"
            self._problems.add(key_place, (*self._path, key), what, "keep one of them")
        elif key:
            parent.entries[key] = Entry(key_place, node)

    def _key(self, node: Node, place: Place) -> str:
        if not isinstance(node, Scalar) or not 0 < len(node.text) <= MAX_KEY:
            what = f"this key is not text of 1 to {MAX_KEY} characters"
            hint = "a value that contains { or ${ inside brackets needs quotes" if isinstance(node, Table) else ""
            self._problems.add(place, tuple(self._path), what, hint)
            return ""
        return node.text

    def _here(self) -> tuple[str | int, ...]:
        """The path of the value that comes now."""
        waiting = self._keys[-1] if self._keys else None
        return (*self._path, waiting[0]) if waiting else tuple(self._path)

    def _inside(self) -> tuple[str | int, ...]:
        """The step from the collection around to the one that begins; none to the root."""
        if not self._stack:
            return ()
        parent, waiting = self._stack[-1], self._keys[-1]
        return (len(parent.nodes) if isinstance(parent, Items) else waiting[0] if waiting else "?",)
