"""Which long texts customers know to be accepted: what equals one of these is another text, and not the same, submitted
again because its answers were lost."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from landline.protocols.smpp.joiner import GroupKey
from landline.protocols.smpp.session import Session

_LIMIT = 2_000
_HEARD_S = 1.0
"""Who says something so long after an answer has read it."""
_LATE_S = 4.0
"""A customer may have given up waiting for an answer that took so long, and have submitted again meanwhile."""


Place = tuple[str, GroupKey]
"""An account, and what the parts of a text have in common."""


class Line(Protocol):
    """One connection of a customer."""

    session: Session
    unbound: bool
    """Whether the customer has ended it by an unbind."""


@dataclass(frozen=True, slots=True)
class _Answer:
    line: Line
    came_at: float
    answered_at: float

    def is_known(self, came_at: float) -> bool:
        """Whether who submits at `came_at` knows this answer: it went to a connection that is there, was ended in good
        order, or lasted a while."""
        if self.answered_at - self.came_at >= _LATE_S and came_at < self.answered_at + _HEARD_S:
            return False
        session = self.line.session
        return self.line.unbound or not session.ended or session.heard_at >= self.answered_at + _HEARD_S


@dataclass(slots=True)
class _Text:
    message: str
    answers: dict[int, _Answer] = field(default_factory=dict[int, _Answer])


class AnsweredTexts:
    """What one process remembers of them. Of what it does not remember, equal parts count as submitted again."""

    def __init__(self) -> None:
        self._texts: OrderedDict[Place, _Text] = OrderedDict()

    def note(self, place: Place, sequence: int, message: str, line: Line, came_at: float, now: float) -> None:
        """A part that came at `came_at` is answered over `line` now: it was accepted for `message`."""
        text = self._texts.pop(place, None)
        if text is None or text.message != message:
            text = _Text(message)
        text.answers[sequence] = _Answer(line, came_at, now)
        self._texts[place] = text
        if len(self._texts) > _LIMIT:
            self._texts.popitem(last=False)

    def is_known(self, place: Place, came_at: float) -> bool:
        """Whether who submits a part there at `came_at` knows that all of the text was accepted that was there last."""
        text = self._texts.get(place)
        if text is None or len(text.answers) < place[1].total:
            return False
        return all(answer.is_known(came_at) for answer in text.answers.values())
