"""Topics and the patterns that select them, in the grammar of NATS subjects.

A topic is words joined by dots (`orders.eu.created`). In a pattern `*` stands for exactly one word and `>`, as the
last word, for one or more (https://docs.nats.io/nats-concepts/subjects).
"""

import re
from functools import lru_cache

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.value import value

MAX_TOPIC_LENGTH = 256
"""Longest topic or pattern, in characters."""

_WORD = re.compile(r"[^\s.*>\x00-\x1f\x7f]+\Z")


@lru_cache(maxsize=4096)  # a gateway sees the same topics over and over; a wrong one raises each time
def check_topic(topic: str) -> str:
    """Return the topic, or raise `InvalidArgument` saying what is wrong with it."""
    if len(topic) > MAX_TOPIC_LENGTH:
        raise InvalidArgument(f"topic is {len(topic)} characters long; at most {MAX_TOPIC_LENGTH} are allowed")
    for word in topic.split("."):
        if not _WORD.match(word):
            raise InvalidArgument(f"topic {topic!r}: words are separated by single dots and hold no space, '*' or '>'")
    return topic


@value(frozen=True, slots=True)
class TopicPattern:
    """A checked pattern; make one with `TopicPattern.parse`."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TopicPattern":
        """Read a pattern, or raise `InvalidArgument`."""
        if len(text) > MAX_TOPIC_LENGTH:
            raise InvalidArgument(f"pattern is {len(text)} characters long; at most {MAX_TOPIC_LENGTH} are allowed")
        words = tuple(text.split("."))
        for place, word in enumerate(words):
            if word == "*" or (word == ">" and place == len(words) - 1):
                continue
            if not _WORD.match(word):
                raise InvalidArgument(f"pattern {text!r}: '*' stands for one word, '>' only as the last word")
        return cls(words)

    def matches(self, topic: str) -> bool:
        """Whether the topic is one that this pattern selects."""
        words = topic.split(".")
        for place, expected in enumerate(self.words):
            if expected == ">":
                return len(words) > place
            if place >= len(words) or (expected != "*" and expected != words[place]):
                return False
        return len(words) == len(self.words)

    def __str__(self) -> str:
        return ".".join(self.words)
