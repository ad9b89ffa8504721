"""`when` of an edge: a small language of its own, parsed when the configuration is read, and never run as code.

    condition  = and { "or" and }
    and        = not { "and" not }
    not        = "not" not | comparison
    comparison = value [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "in") value ]
    value      = "text" | 'text' | number | true | false | null | [value, …] | path | "(" condition ")"

Paths are those of `facts`. A value by itself holds unless it is null, false, 0 or empty. Things of different kinds are
not equal and have no order, except that text that reads as a number may be compared with one.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from gatewayd.config.facts import SPOKEN, Facts, Steps, check_steps, look_up, steps_of
from gatewayd.core.value import value

MAX_TEXT: Final = 500
"""Longest condition, in characters."""
MAX_DEPTH: Final = 16
"""Deepest nesting of parentheses, lists and `not`."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>"[^"\\]*"|'[^'\\]*')(?![\w.])
    | (?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?)(?![\w.])
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    | (?P<word>[A-Za-z_][\w\-]*(?:\.(?:[\w\-]+|"[^"\\]*"))*)
    )""",
    re.VERBOSE,
)
_COMPARING: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "contains", "in"})
_LITERAL: Final = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset({"and", "or", "not", "contains", "in"})


@value(frozen=True, slots=True)
class _Term:
    """One node of the tree: `kind` says what the rest is."""

    kind: str
    terms: tuple["_Term", ...] = ()
    literal: Any = None
    steps: Steps = ()


@value(frozen=True, slots=True)
class Condition:
    """A parsed condition."""

    text: str
    _root: _Term

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read it; `ValueError` with a sentence that says where it stops making sense."""
        if len(text) > MAX_TEXT:
            raise ValueError(f"a condition of {len(text)} characters; at most {MAX_TEXT} are taken")
        return cls(text, _Parser(text).whole())

    @property
    def paths(self) -> frozenset[Steps]:
        """Everything that it asks for."""
        return frozenset(term.steps for term in _walk(self._root) if term.kind == "path")

    @property
    def speaks_of_failure(self) -> bool:
        """Whether it says by itself what holds where the node failed; any other is for success alone."""
        return any(steps[0] in SPOKEN for steps in self.paths)

    def holds(self, facts: Facts) -> bool:
        """Whether it is so."""
        if not self.speaks_of_failure and not facts.get("success"):
            return False
        return bool(_evaluate(self._root, facts))


def condition(given: object) -> str:
    """A check for a key of the configuration."""
    if not isinstance(given, str):
        raise ValueError('a condition is text, such as success, or output.kind == "refund"')
    Condition.parse(given)
    return given


def _walk(term: _Term) -> Iterator[_Term]:
    yield term
    for each in term.terms:
        yield from _walk(each)


def _evaluate(term: _Term, facts: Facts) -> Any:
    match term.kind:
        case "literal":
            return term.literal
        case "path":
            return look_up(term.steps, facts)
        case "list":
            return [_evaluate(each, facts) for each in term.terms]
        case "not":
            return not _evaluate(term.terms[0], facts)
        case "and":
            return all(_evaluate(each, facts) for each in term.terms)
        case "or":
            return any(_evaluate(each, facts) for each in term.terms)
    left, right = (_evaluate(each, facts) for each in term.terms)
    match term.kind:
        case "==":
            return _equal(left, right)
        case "!=":
            return not _equal(left, right)
        case "contains":
            return _within(right, left)
        case "in":
            return _within(left, right)
    return _ordered(term.kind, left, right)


def _equal(left: Any, right: Any) -> bool:
    left, right = _alike(left, right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _within(part: Any, whole: Any) -> bool:
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    if isinstance(whole, dict):
        return isinstance(part, str) and part in whole
    return isinstance(whole, list) and any(_equal(part, each) for each in whole)


def _ordered(sign: str, left: Any, right: Any) -> bool:
    left, right = _alike(left, right)
    numbers = _is_number(left) and _is_number(right)
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return False
    before, same = left < right, left == right
    return bool({"<": before, "<=": before or same, ">": not before and not same, ">=": not before}[sign])


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Text that reads as a number, beside a number, is one."""
    if _is_number(left) and isinstance(right, str):
        return left, _read(right)
    if isinstance(left, str) and _is_number(right):
        return _read(left), right
    return left, right


def _read(text: str) -> Any:
    match = re.fullmatch(r"\s*(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*", text, re.ASCII)
    return float(match[1]) if match else text


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


class _Parser:
    """Reads one condition from the left to the right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                stray = text[at:].lstrip()
                hint = "; equal is ==" if stray.startswith("=") else ""
                raise ValueError(f"{stray[:20]!r} at character {len(text) - len(stray) + 1} means nothing here{hint}")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind], match.start(kind)))
            at = match.end()
        self._at = 0

    def whole(self) -> _Term:
        found = self._or(0)
        if self._at < len(self._tokens):
            raise self._stray("and, or, or the end")
        return found

    def _or(self, depth: int) -> _Term:
        return self._joined("or", depth)

    def _joined(self, word: str, depth: int) -> _Term:
        def each() -> _Term:
            return self._joined("and", depth) if word == "or" else self._not(depth)

        terms = [each()]
        while self._takes("word", word):
            terms.append(each())
        return terms[0] if len(terms) == 1 else _Term(word, tuple(terms))

    def _not(self, depth: int) -> _Term:
        if self._takes("word", "not"):
            return _Term("not", (self._not(self._deeper(depth)),))
        left = self._value(depth)
        kind, text, _ = self._peek()
        if kind in ("sign", "word") and text in _COMPARING:
            self._at += 1
            return _Term(text, (left, self._value(depth)))
        return left

    def _value(self, depth: int) -> _Term:
        kind, text, at = self._peek()
        if kind == "sign" and text in "([":
            self._at += 1
            if text == "(":
                inner = self._or(self._deeper(depth))
                self._expect(")")
                return inner
            return self._list(self._deeper(depth))
        if kind not in ("text", "number", "word") or text in _RESERVED:
            raise self._stray("a value")
        self._at += 1
        if kind == "text":
            return _Term("literal", literal=text[1:-1])
        if kind == "number":
            return _Term("literal", literal=float(text) if "." in text else int(text))
        if text in _LITERAL:
            return _Term("literal", literal=_LITERAL[text])
        steps = steps_of(text)
        if wrong := check_steps(steps):
            raise ValueError(f"{wrong} (at character {at + 1}; text stands in quotes)")
        return _Term("path", steps=steps)

    def _list(self, depth: int) -> _Term:
        if self._takes("sign", "]"):
            return _Term("list")
        terms = [self._value(depth)]
        while self._takes("sign", ","):
            terms.append(self._value(depth))
        self._expect("]")
        return _Term("list", tuple(terms))

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "", len(self._text))

    def _takes(self, kind: str, text: str) -> bool:
        if self._peek()[:2] != (kind, text):
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes("sign", sign):
            raise self._stray(f"'{sign}'")

    def _deeper(self, depth: int) -> int:
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        return depth + 1

    def _stray(self, wanted: str) -> ValueError:
        _, text, at = self._peek()
        where = f"{text[:20]!r} at character {at + 1}" if text else "the end"
        return ValueError(f"{wanted} is expected where {where} is")


__all__ = ["Condition", "condition"]
