"""A text of a phone that was taken in lately: whether what equals it is the same, brought again, or another one."""

from dataclasses import dataclass

from landline.protocols.smpp.session import Session

HEARD_S = 1.0
"""What an SMSC says so long after we acknowledged a text shows that it knows that we have it."""
_LATE_S = 4.0
"""An acknowledgement after so long may come after an SMSC's patience: it may have brought the text again meanwhile."""

STOOD_STILL_S = 2.0
"""A text that nobody looked at for so long, though nothing else was done, was in a process that stood still (SIGSTOP, a
machine being moved). Its SMSC may have brought it to another one by now, which has settled it: it awaits our answer no
more then, and an error to have it brought again neither doubles nor loses it."""


@dataclass(slots=True)
class Recent:
    """A text taken in lately. Instants of the connection are by its clock."""

    key: str
    session: Session
    at: float
    came_at: float
    """When it came by the connection."""
    acknowledged_at: float | None = None

    @property
    def heard(self) -> bool:
        """Whether its SMSC knows that we have it."""
        return self.acknowledged_at is not None and self.session.heard_at >= self.acknowledged_at + HEARD_S

    def again(self, came_at: float) -> bool:
        """Whether an equal text that came at `came_at` may be this one, brought again."""
        if self.acknowledged_at is None:
            return True
        if self.acknowledged_at - self.came_at >= _LATE_S and came_at < self.acknowledged_at + HEARD_S:
            return True
        return self.session.ended and not self.heard
