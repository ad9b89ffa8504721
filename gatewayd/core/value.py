"""`@value`: a frozen dataclass with slots, and `@record`, one that changes, both made in a sixth of the time.

For the type checker they *are* `dataclasses.dataclass`: `frozen=True` is held where code is checked, not while it runs.
What a dataclass costs at run time is paid twice. CPython 3.11 compiles up to six methods for each (half a millisecond,
of which a start had a hundred), and the `__init__` of a frozen one goes around its own guard for every field. Here only
`__init__` is compiled, as a plain one, and only when the third value of the class is made, which for most of them is
after the start or never; equality, hash and text are shared by all; and what `dataclasses.fields` tells is found out
when asked.
See docs/adr/0012-values-are-frozen-by-the-checker.md.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import dataclass as value
else:
    from dataclasses import MISSING, Field, dataclass
    from operator import attrgetter, ge, gt, le, lt
    from typing import ClassVar

    def value(*, frozen, slots, order=False):
        """Make the class a value. `frozen` and `slots` are always true; they stand there for the reader."""
        assert frozen, "a value is frozen"
        assert slots, "a value has slots"

        def make(cls):
            made = _made(cls)
            if order:
                made.__lt__, made.__le__, made.__gt__, made.__ge__ = map(_compared, (lt, le, gt, ge))
            if made.__dict__.get("__hash__") is None:
                made.__hash__ = _hash
            return made

        return make

    def record(*, slots):
        """Make the class a record: what it holds may change, and it has no hash."""
        assert slots, "a record has slots"
        return _made

    def _made(cls):
        """The class once more, with slots; its `__dict__` tells what was written in it, not what it inherits."""
        own = dict(cls.__dict__)
        inherited = {}
        for base in cls.__mro__[:0:-1]:
            inherited |= base.__dict__.get("__layout__", {})
        added = {name: each for name, each in own.get("__annotations__", {}).items() if not _is_of_the_class(each)}
        layout = inherited | {name: (each, own.pop(name, MISSING)) for name, each in added.items()}
        for name in ("__dict__", "__weakref__"):
            own.pop(name, None)
        compared = [name for name, (_, given) in layout.items() if not isinstance(given, Field) or given.compare]
        own["__slots__"] = tuple(name for name in added if name not in inherited)
        own["__layout__"] = layout
        own["__content__"] = attrgetter(*compared) if compared else _nothing
        own["__dataclass_params__"] = _PARAMS
        own.setdefault("__match_args__", tuple(layout))
        own.setdefault("__eq__", _equal)
        own.setdefault("__repr__", _text)
        made = type(cls)(cls.__name__, cls.__bases__, own)
        made.__qualname__ = cls.__qualname__
        if "__init__" not in own:
            made.__init__ = _init_later(made)
        made.__dataclass_fields__ = _Fields(made)
        return made

    def _is_of_the_class(annotation):
        """Whether it says `ClassVar`."""
        if isinstance(annotation, str):
            return annotation.removeprefix("typing.").startswith("ClassVar")
        return annotation is ClassVar or getattr(annotation, "__origin__", None) is ClassVar

    class _Fields:
        """What the tools of `dataclasses` look for; few values are ever shown to them."""

        def __init__(self, of):
            self._of = of

        def __get__(self, _instance, _owner):
            layout = self._of.__layout__
            plain = {name: given for name, (_, given) in layout.items() if given is not MISSING}
            plain["__annotations__"] = {name: annotation for name, (annotation, _) in layout.items()}
            plain |= {"__module__": self._of.__module__, "__doc__": "."}
            alike = dataclass(init=False, repr=False, eq=False)(type(self._of.__name__, (), plain))
            self._of.__dataclass_fields__ = alike.__dataclass_fields__
            return alike.__dataclass_fields__

    def _init_later(made):
        uncompiled = _UNCOMPILED

        def __init__(self, *args, **kwargs):  # noqa: N807
            nonlocal uncompiled
            uncompiled -= 1
            if uncompiled < 0 or not _filled(self, made.__layout__, args, kwargs):
                made.__init__ = init = _init_of(made)
                init(self, *args, **kwargs)
            elif hasattr(made, "__post_init__"):
                self.__post_init__()

        return __init__

    def _filled(self, layout, args, kwargs):
        """Set every field; False when what was given does not fit: the compiled `__init__` says in what way."""
        given = dict(zip(layout, args, strict=False))
        if len(args) > len(layout) or given.keys() & kwargs.keys() or kwargs.keys() - layout.keys():
            return False
        given |= kwargs
        for name, (_, declared) in layout.items():
            default, factory = _defaults(declared)
            if name in given:
                setattr(self, name, given[name])
            elif default is not MISSING:
                setattr(self, name, default)
            elif factory is not MISSING:
                setattr(self, name, factory())
            else:
                return False
        return True

    def _defaults(declared):
        """What a field is without a value, and what makes that; `MISSING` for what there is not."""
        return (declared.default, declared.default_factory) if isinstance(declared, Field) else (declared, MISSING)

    def _init_of(made):
        """The `__init__` that a dataclass would have."""
        known = {"_MADE": _MADE}
        taken, lines = [], []
        for name, (_, declared) in made.__layout__.items():
            default, factory = _defaults(declared)
            said = ""
            if default is not MISSING:
                known[f"_{name}"], said = default, f"=_{name}"
            elif factory is not MISSING:
                known[f"_{name}"], said = factory, "=_MADE"
            taken.append(f"{name}{said}")
            what = f"_{name}() if {name} is _MADE else {name}" if said == "=_MADE" else name
            lines.append(f"    self.{name} = {what}\n")
        if hasattr(made, "__post_init__"):
            lines.append("    self.__post_init__()\n")
        parameters = ", ".join(["self", *taken])
        exec(f"def __init__({parameters}):\n{''.join(lines) or '    pass'}", known)
        return known["__init__"]

    _UNCOMPILED = 2
    """Of many classes there is one value, or two: to compile costs as much as to make twenty without."""
    _MADE = object()
    """Stands for a default that is made anew for each value."""
    _PARAMS = dataclass(init=False, repr=False, eq=False)(type("Alike", (), {"__doc__": "."})).__dataclass_params__

    def _nothing(_):
        return ()

    def _equal(self, other):
        kind = self.__class__
        if other.__class__ is not kind:
            return NotImplemented
        return self is other or kind.__content__(self) == kind.__content__(other)

    def _compared(how):
        def compare(self, other):
            kind = self.__class__
            if other.__class__ is not kind:
                return NotImplemented
            return how(kind.__content__(self), kind.__content__(other))

        return compare

    def _hash(self):
        return hash(self.__class__.__content__(self))

    def _text(self):
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name, (_, given) in self.__layout__.items()
            if not isinstance(given, Field) or given.repr
        )
        return f"{self.__class__.__qualname__}({shown})"


__all__ = ["record", "value"]
