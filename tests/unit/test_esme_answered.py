"""When a customer knows that a long text was accepted, by when its answers went out and what it said since."""

from dataclasses import dataclass

import pytest

from landline.engines.smpp.listener.answered import AnsweredTexts
from landline.protocols.smpp.joiner import GroupKey
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

PLACE = ("customer", GroupKey("+18005550100", "+14255550199", 7, 2, False))


@dataclass
class Line:
    session: Session
    unbound: bool = False


def line(*, heard_at: float = 0.0, ended: bool = False) -> Line:
    found = Line(Session(Role.SMSC, heard_at, Limits()))
    if ended:
        found.session.close()
    return found


def answered(by: Line, *, came_at: float = 0.0, at: float = 0.1, parts: tuple[int, ...] = (1, 2)) -> AnsweredTexts:
    texts = AnsweredTexts()
    for part in parts:
        texts.note(PLACE, part, "message", by, came_at, at)
    return texts


def test_it_does_while_the_connection_lasts_and_not_when_that_was_cut_at_once() -> None:
    assert answered(line()).is_known(PLACE, 0.2)
    assert not answered(line(ended=True)).is_known(PLACE, 0.2)


def test_it_does_when_it_said_something_a_while_after_the_answers() -> None:
    assert answered(line(heard_at=1.2, ended=True)).is_known(PLACE, 2.0)
    assert not answered(line(heard_at=1.0, ended=True)).is_known(PLACE, 2.0)


@pytest.mark.parametrize(("came_at", "known"), [(6.5, False), (7.1, True)])
def test_it_may_have_given_up_an_answer_that_took_long_and_submitted_again_meanwhile(
    came_at: float, known: bool
) -> None:
    assert answered(line(), at=6.0).is_known(PLACE, came_at) is known


def test_it_does_of_a_whole_text_only() -> None:
    texts = answered(line(), parts=(1,))
    assert not texts.is_known(PLACE, 1.0)
    texts.note(PLACE, 2, "another", line(), 0.0, 0.1)
    assert not texts.is_known(PLACE, 1.0)
    texts.note(PLACE, 1, "another", line(), 0.0, 0.1)
    assert texts.is_known(PLACE, 1.0)


def test_the_texts_that_were_answered_longest_ago_are_forgotten_first() -> None:
    texts = answered(line())
    for number in range(2_500):
        texts.note((f"customer {number}", PLACE[1]), 1, "message", line(), 0.0, 0.1)
    assert not texts.is_known(PLACE, 1.0)
