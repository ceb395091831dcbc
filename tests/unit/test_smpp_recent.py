"""Whether a text that equals one taken in lately is that one, brought again by its SMSC, or was said again."""

import pytest

from landline.engines.smpp.recent import Recent
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

CAME = 1000.0


@pytest.fixture
def recent() -> Recent:
    """A text over a connection that lasts."""
    return Recent("key", Session(Role.ESME, CAME), 0.0, CAME)


def test_a_text_said_again_before_its_smsc_is_answered_is_another_one(recent: Recent) -> None:
    assert not recent.again(CAME)
    assert not recent.again(CAME + 3.9)


def test_a_text_that_its_smsc_waited_for_in_vain_is_brought_again(recent: Recent) -> None:
    assert recent.again(CAME + 4)


def test_a_text_acknowledged_in_time_is_not_brought_again(recent: Recent) -> None:
    recent.answered(CAME + 3.9, taken=True)
    assert not recent.again(CAME + 3.95)
    assert not recent.again(CAME + 4.5)


def test_a_text_acknowledged_late_is_brought_again_until_its_smsc_has_read_that(recent: Recent) -> None:
    recent.answered(CAME + 9, taken=True)
    assert not recent.again(CAME + 3.9)
    assert recent.again(CAME + 8)
    assert recent.again(CAME + 9.9)
    assert not recent.again(CAME + 10)


def test_a_text_put_off_is_brought_again_at_once(recent: Recent) -> None:
    recent.answered(CAME + 1, taken=False)
    assert recent.again(CAME + 1)


def test_what_was_brought_again_is_not_so_twice(recent: Recent) -> None:
    recent.answered(CAME + 1, taken=False)
    recent.brought_again(recent.session, CAME + 6)
    assert not recent.again(CAME + 6)
    recent.answered(CAME + 6.1, taken=True)
    assert not recent.again(CAME + 6.2)


@pytest.mark.parametrize(("heard_s", "again"), [(0.5, True), (1.0, False)])
def test_what_a_lost_connection_brought_is_brought_again_unless_its_smsc_said_something_after_our_acknowledgement(
    recent: Recent, heard_s: float, again: bool
) -> None:
    recent.answered(CAME + 0.1, taken=True)
    recent.session.receive(b"", CAME + 0.1 + heard_s)
    recent.session.close()
    assert recent.again(CAME + 60) is again


def test_what_a_lost_connection_brought_and_nobody_acknowledged_is_brought_again_at_once(recent: Recent) -> None:
    recent.session.close()
    assert recent.again(CAME + 0.1)
