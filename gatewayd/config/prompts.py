"""Prompts and arguments of a node: text in which `{{path}}` stands for what is known when the node begins."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from gatewayd.config.facts import Facts, check_steps, look_up, steps_of

MAX_PLACES: Final = 100
"""Most places of one text."""

_PLACE: Final = re.compile(r"\{\{([^{}]*)\}\}")


def faults_in(text: Any, nodes: Collection[str]) -> Iterator[str]:
    """What is wrong with the places of a text, or of all texts in a mapping or list."""
    if isinstance(text, dict):
        for each in text.values():
            yield from faults_in(each, nodes)
    elif isinstance(text, list | tuple):
        for each in text:
            yield from faults_in(each, nodes)
    elif isinstance(text, str):
        places = _PLACE.findall(text)
        if len(places) > MAX_PLACES:
            yield f"{len(places)} places to fill in; at most {MAX_PLACES} are taken"
        for place in places[:MAX_PLACES]:
            try:
                wrong = check_steps(steps_of(place.strip()), nodes)
            except ValueError as error:
                wrong = str(error)
            if wrong:
                yield wrong


def fill(text: str, facts: Facts) -> str:
    """The text with its places filled in; what is put in is not looked at again."""
    return _PLACE.sub(lambda place: _shown(look_up(steps_of(place[1].strip()), facts)), text)


def fill_all(given: Any, facts: Facts) -> Any:
    """A mapping or list with all of its texts filled in. A text that is one place and no more becomes the value."""
    if isinstance(given, dict):
        return {key: fill_all(each, facts) for key, each in given.items()}
    if isinstance(given, list | tuple):
        return [fill_all(each, facts) for each in given]
    if not isinstance(given, str):
        return given
    whole = _PLACE.fullmatch(given.strip())
    return look_up(steps_of(whole[1].strip()), facts) if whole else fill(given, facts)


def _shown(found: Any) -> str:
    if found is None:
        return ""
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


__all__ = ["faults_in", "fill", "fill_all"]
