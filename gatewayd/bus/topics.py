"""Patterns of topics as a tree of words: which of them select a topic, in the number of its words."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from gatewayd.core.topic import TopicPattern

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("here", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node[T]] = {}
        """By the next word of the pattern; `*` is one of them."""
        self.here: set[T] = set()
        """Patterns that end at this word."""
        self.rest: set[T] = set()
        """Patterns that go on with `>`."""

    @property
    def empty(self) -> bool:
        return not (self.words or self.here or self.rest)


class TopicTree(Generic[T]):
    """Each item stands at its pattern."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: TopicPattern, item: T) -> None:
        """An item may stand at several patterns."""
        node = self._root
        for word in pattern.words:
            if word == ">":
                node.rest.add(item)
                return
            node = node.words.setdefault(word, _Node())
        node.here.add(item)

    def remove(self, pattern: TopicPattern, item: T) -> None:
        """Take an item away from a pattern where it stands."""
        path = [self._root]
        for word in pattern.words:
            if word == ">":
                break
            path.append(path[-1].words[word])
        (path[-1].rest if pattern.words[-1] == ">" else path[-1].here).discard(item)
        for word, parent, node in zip(reversed(pattern.words[: len(path) - 1]), path[-2::-1], path[:0:-1], strict=True):
            if not node.empty:
                return
            del parent.words[word]

    def find(self, topic: str) -> Iterator[T]:
        """The items whose pattern selects the topic."""
        nodes = [self._root]
        words = topic.split(".")
        for word in words:
            following = []
            for node in nodes:
                yield from node.rest
                if (exact := node.words.get(word)) is not None:
                    following.append(exact)
                if (any_word := node.words.get("*")) is not None:
                    following.append(any_word)
            nodes = following
        for node in nodes:
            yield from node.here

    def __bool__(self) -> bool:
        return not self._root.empty
