"""A configuration as flat paths and plain values: for the digest, the difference of two, and `config show`."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from gatewayd.config.problems import Path, dotted
from gatewayd.config.section import Section, settings_of
from gatewayd.core.pem import Pem
from gatewayd.core.secret import Secret


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every path that ends in a value; a list is one value. The adapter's keys stand beside the channel's own."""
    if isinstance(value, Section):
        for name, field in settings_of(value).items():
            inner = getattr(value, name)
            if field.exclude:
                yield from leaves(inner, path) if isinstance(inner, Section) else ()
            else:
                yield from leaves(inner, (*path, field.key))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    else:
        yield path, value


def digest(config: Section, unavailable: Mapping[str, str]) -> str:
    """SHA-256 over all values, those of secrets included: equal exactly when nothing changed."""
    text = json.dumps([_tree(config, _hashed), dict(unavailable)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def masked(value: Any) -> Any:
    """The value for JSON, with fingerprints in place of secrets."""
    return _tree(value, str)


def render(config: Section, origins: Mapping[str, str]) -> str:
    """The configuration as YAML with everything written out, and behind each value where it came from."""
    lines: list[str] = []
    open_path: Path = ()
    for path, value in leaves(config):
        shared = 0
        while shared < min(len(open_path), len(path) - 1) and open_path[shared] == path[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{_key(path[depth])}:" for depth in range(shared, len(path) - 1)]
        open_path = path[:-1]
        origin = _origin(path, value, origins)
        text = json.dumps(masked(value), ensure_ascii=False)
        lines.append(f"{'  ' * (len(path) - 1)}{_key(path[-1])}: {text}  # {origin}")
    return "\n".join(lines) + "\n"


def _key(step: str | int) -> str:
    text = str(step)
    plain = text.isascii() and text.replace("_", "a").isalnum() and not text[0].isdigit()
    return text if plain else json.dumps(text, ensure_ascii=False)


def _origin(path: Path, value: Any, origins: Mapping[str, str]) -> str:
    where = dotted(path)
    inside = sorted({origin for key, origin in origins.items() if key.startswith(f"{where}[")})
    if isinstance(value, list | tuple) and inside:
        return ", ".join(inside[:3])
    return origins.get(where, "default")


def _hashed(secret: Secret) -> object:
    return {"secret": hashlib.sha256(secret.reveal().encode()).hexdigest()}


def _tree(value: Any, of_secret: Callable[[Secret], object]) -> Any:
    """The value with nothing in it but what JSON knows."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Section):
        shown: dict[str, Any] = {}
        for name, field in settings_of(value).items():
            inner = getattr(value, name)
            if not field.exclude:
                shown[field.key] = _tree(inner, of_secret)
            elif isinstance(inner, Section):
                shown |= _tree(inner, of_secret)
        return shown
    if isinstance(value, dict):
        return {str(key): _tree(each, of_secret) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_tree(each, of_secret) for each in value]
    if isinstance(value, Secret):
        return of_secret(value)
    if isinstance(value, Pem):
        return f"{value.path} ({of_secret(value.data)})"
    return value.isoformat() if isinstance(value, datetime) else str(value)
