"""`@value`: a frozen dataclass with slots, made in a third of the time.

For the type checker it *is* `dataclasses.dataclass`: `frozen=True` is held where code is checked, not while it runs.
What a frozen dataclass costs at run time is paid twice. CPython 3.11 compiles six methods for each (half a millisecond,
of which a start had a hundred), and its `__init__` goes around its own guard for every field. Here only `__init__` is
compiled, as a plain one, and only when the first value of the class is made, which for most of them is after the start;
equality, hash and text are shared by all values.
See docs/adr/0012-values-are-frozen-by-the-checker.md.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import MISSING, dataclass
    from operator import attrgetter

    def value(*, frozen, slots, order=False):
        """Make the class a value. `frozen` and `slots` are always true; they stand there for the reader."""
        assert frozen, "a value is frozen"
        assert slots, "a value has slots"

        def make(cls):
            own = cls.__dict__
            if not cls.__doc__:
                cls.__doc__ = cls.__name__  # a dataclass would look for its signature
            made = dataclass(slots=True, init=False, repr=False, eq=order, order=order)(cls)
            if "__init__" not in own:
                made.__init__ = _init_later(made)
            compared = [name for name, field in made.__dataclass_fields__.items() if field.compare]
            made.__content__ = attrgetter(*compared) if compared else _nothing
            if not order and "__eq__" not in own:
                made.__eq__ = _equal
            if "__hash__" not in own or own["__hash__"] is None:
                made.__hash__ = _hash
            if "__repr__" not in own:
                made.__repr__ = _text
            return made

        return make

    def _init_later(made):
        def __init__(self, *args, **kwargs):  # noqa: N807
            made.__init__ = init = _init_of(made)
            init(self, *args, **kwargs)

        return __init__

    def _init_of(made):
        """The `__init__` that a dataclass would have."""
        known = {"_MADE": _MADE}
        taken, lines = [], []
        for name, field in made.__dataclass_fields__.items():
            given = ""
            if field.default is not MISSING:
                known[f"_{name}"], given = field.default, f"=_{name}"
            elif field.default_factory is not MISSING:
                known[f"_{name}"], given = field.default_factory, "=_MADE"
            taken.append(f"{name}{given}")
            what = f"_{name}() if {name} is _MADE else {name}" if given == "=_MADE" else name
            lines.append(f"    self.{name} = {what}\n")
        if hasattr(made, "__post_init__"):
            lines.append("    self.__post_init__()\n")
        parameters = ", ".join(["self", *taken])
        exec(f"def __init__({parameters}):\n{''.join(lines) or '    pass'}", known)
        return known["__init__"]

    _MADE = object()
    """Stands for a default that is made anew for each value."""

    def _nothing(_):
        return ()

    def _equal(self, other):
        kind = self.__class__
        if other.__class__ is not kind:
            return NotImplemented
        return self is other or kind.__content__(self) == kind.__content__(other)

    def _hash(self):
        return hash(self.__class__.__content__(self))

    def _text(self):
        fields = self.__dataclass_fields__.values()
        shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields if field.repr)
        return f"{self.__class__.__qualname__}({shown})"


__all__ = ["value"]
