"""A text of a phone that was taken in lately: whether what equals it is the same, brought again, or another one."""

from dataclasses import dataclass

from landline.protocols.smpp.session import Session

HEARD_S = 1.0
"""What an SMSC says so long after we acknowledged a text shows that it knows that we have it."""
_LATE_S = 4.0
"""An acknowledgement after so long may come after an SMSC's patience: it may have brought the text again meanwhile.
What equals a text and comes sooner, over a connection that lasts, is another one."""

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
    put_off: bool = False
    """Whether its SMSC was asked to bring it again."""

    @property
    def heard(self) -> bool:
        """Whether its SMSC knows that we have it."""
        return self.acknowledged_at is not None and self.session.heard_at >= self.acknowledged_at + HEARD_S

    def again(self, came_at: float) -> bool:
        """Whether an equal text that came at `came_at` may be this one, brought again."""
        if self.session.ended or self.put_off:
            return not self.heard
        if came_at < self.came_at + _LATE_S:
            return False  # its SMSC still waited for our answer: a phone said the same twice
        if self.acknowledged_at is None:
            return True
        return self.acknowledged_at - self.came_at >= _LATE_S and came_at < self.acknowledged_at + HEARD_S

    def brought_again(self, session: Session, came_at: float) -> None:
        """It came once more. What equals it and comes now is another one."""
        self.session, self.came_at = session, came_at
        self.acknowledged_at, self.put_off = None, False

    def answered(self, now: float, *, taken: bool) -> None:
        """The SMSC was told that we have it, or that it is to bring it again."""
        if taken:
            self.acknowledged_at = now
        else:
            self.put_off = True
