"""What somebody probably meant who wrote a name that is none."""

from collections.abc import Iterable
from itertools import islice


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The name that is spelled most alike; '' when none is. Looks at 64 characters, and at the first thousand names."""
    import difflib  # noqa: PLC0415  # only for those who err

    return next(iter(difflib.get_close_matches(wrong[:64], list(islice(known, 1000)), n=1)), "")
