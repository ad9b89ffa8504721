"""What the agents of the desk say to each other. On a topic the dataclass says which handler it is for."""

from dataclasses import dataclass, field


@dataclass
class Ticket:
    """What a customer wants."""

    number: int
    customer: str
    order: str
    text: str
    subjects: list[str] = field(default_factory=list)
    """What it is about: `billing`, `shipping`, …; each is a topic `tickets.SUBJECT`."""


@dataclass
class Finding:
    """What a specialist knows about a ticket."""

    by: str
    says: str
    refund: float = 0.0
    """What is to be paid back, in euros."""


@dataclass
class Findings:
    """What the board has gathered on a ticket."""

    found: list[Finding] = field(default_factory=list)
