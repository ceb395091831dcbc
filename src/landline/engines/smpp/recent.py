"""A text of a phone that was taken in lately: whether what equals it is the same, brought again, or another one."""

from dataclasses import dataclass

from landline.protocols.smpp.session import Session

HEARD_S = 1.0
"""What an SMSC says so long after we acknowledged a text shows that it knows that we have it."""


@dataclass(slots=True)
class Recent:
    """A text taken in lately."""

    key: str
    session: Session
    at: float
    acknowledged_at: float | None = None
    """By the clock of the connection."""
    settled: bool = False
    """Whether other processes were told that it will not be brought again."""

    @property
    def doubtful(self) -> bool:
        """Whether its SMSC may not know that we have it, and bring it again."""
        if self.acknowledged_at is None:
            return True
        return self.session.ended and self.session.heard_at < self.acknowledged_at + HEARD_S
