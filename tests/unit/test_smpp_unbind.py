"""How an SMPP session ends in order: what was asked is answered first, on either side."""

import pytest
from tests.support.smpp_pair import BODY, Pair, only

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import RESPONSE, Command
from landline.protocols.smpp.events import (
    Answered,
    MessageArrived,
    PduRefused,
    Unanswered,
    Unbound,
)
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.states import Role


@pytest.mark.parametrize("by_esme", [True, False])
def test_unbinding_ends_both_sides(by_esme: bool) -> None:
    pair = Pair()
    (pair.esme if by_esme else pair.smsc).unbind(pair.now)
    first, second = (pair.to_smsc, pair.to_esme) if by_esme else (pair.to_esme, pair.to_smsc)
    assert only(Unbound, first()).by_peer
    assert not only(Unbound, second()).by_peer
    assert pair.esme.ended
    assert pair.smsc.ended


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("busy", [False, True])
def test_an_unbind_that_crosses_ours_is_answered_like_any_other(role: Role, busy: bool) -> None:
    pair = Pair()
    session, command = (pair.esme, Command.DELIVER_SM) if role is Role.ESME else (pair.smsc, Command.SUBMIT_SM)
    if busy:
        session.receive(pdu.encode(command, ShortMessage(), 8), pair.now)
    session.unbind(pair.now)
    session.outgoing()
    assert only(Unbound, session.receive(pdu.encode(Command.UNBIND, None, 9), pair.now)).by_peer
    if busy:
        assert session.outgoing() == b""
        session.answer(8)
    assert session.outgoing()[-16:] == HEADER.pack(16, Command.UNBIND | RESPONSE, 0, 9)
    assert session.ended


def test_an_unbind_is_answered_after_what_was_asked_before() -> None:
    pair = Pair()
    for name in ("first", "second"):
        pair.esme.submit(BODY, name, pair.now)
    pair.esme.unbind(pair.now)
    first, second, unbound = pair.to_smsc()
    assert isinstance(first, MessageArrived)
    assert isinstance(second, MessageArrived)
    assert isinstance(unbound, Unbound)
    assert not pair.smsc.ended
    assert not pair.smsc.can_deliver
    pair.smsc.answer(second.sequence, message_id="2")
    assert only(Answered, pair.to_esme()).message_id == "2"
    pair.smsc.answer(first.sequence, message_id="1")
    assert pair.smsc.ended
    answered, ended = pair.to_esme()
    assert isinstance(answered, Answered)
    assert isinstance(ended, Unbound)


def test_an_smscs_unbind_is_answered_after_it_has_answered_us() -> None:
    pair = Pair()
    for name in ("first", "second"):
        pair.esme.submit(BODY, name, pair.now)
    first, second = pair.to_smsc()
    assert isinstance(first, MessageArrived)
    assert isinstance(second, MessageArrived)
    pair.smsc.answer(first.sequence, message_id="1")
    pair.smsc.unbind(pair.now)
    answered, unbound = pair.to_esme()
    assert isinstance(answered, Answered)
    assert isinstance(unbound, Unbound)
    assert not pair.esme.ended
    assert not pair.esme.can_submit
    pair.smsc.answer(second.sequence, message_id="2")
    assert only(Answered, pair.to_esme()).message_id == "2"
    assert pair.esme.ended
    only(Unbound, pair.to_smsc())


def test_an_smscs_unbind_is_answered_in_the_end_though_it_does_not_answer_us() -> None:
    pair = Pair(response_s=60)
    pair.esme.submit(BODY, "mine", pair.now)
    pair.smsc.unbind(pair.now)
    only(Unbound, pair.to_esme())
    assert pair.esme.deadline() == pair.now + 10
    pair.esme.expire(pair.now + 10)
    assert pair.esme.ended
    assert pair.esme.close() == [Unanswered(Command.SUBMIT_SM, "mine")]


def test_an_esmes_unbind_does_not_wait_for_its_answers() -> None:
    pair = Pair()
    pair.smsc.deliver(BODY, "theirs", pair.now)
    pair.esme.unbind(pair.now)
    only(Unbound, pair.to_smsc())
    assert pair.smsc.ended


def test_who_parts_answers_first_and_takes_nothing_more() -> None:
    pair = Pair()
    pair.esme.submit(BODY, "first", pair.now)
    asked = only(MessageArrived, pair.to_smsc())
    pair.smsc.part(pair.now)
    pair.esme.submit(BODY, "late", pair.now)
    only(PduRefused, pair.to_smsc())
    assert only(Answered, pair.to_esme()).status == status.ESME_RSYSERR
    pair.smsc.answer(asked.sequence, message_id="1")
    answered, unbound = pair.to_esme()
    assert isinstance(answered, Answered)
    assert (answered.context, answered.message_id) == ("first", "1")
    assert isinstance(unbound, Unbound)
    assert pair.smsc.receive(b"", pair.now) == []
    assert pair.smsc.outgoing() == b"", "it unbinds once"
    only(Unbound, pair.to_smsc())


def test_who_parts_and_is_asked_to_unbind_meanwhile_only_answers() -> None:
    pair = Pair()
    pair.esme.submit(BODY, "first", pair.now)
    asked = only(MessageArrived, pair.to_smsc())
    pair.smsc.part(pair.now)
    assert only(Unbound, pair.smsc.receive(pdu.encode(Command.UNBIND, None, 9), pair.now)).by_peer
    pair.smsc.answer(asked.sequence, message_id="1")
    assert pair.smsc.outgoing()[-16:] == HEADER.pack(16, Command.UNBIND | RESPONSE, 0, 9)
    assert pair.smsc.ended


def test_who_parts_and_owes_nothing_unbinds_at_once() -> None:
    pair = Pair()
    pair.smsc.part(pair.now)
    assert only(Unbound, pair.to_esme()).by_peer
    assert not only(Unbound, pair.to_smsc()).by_peer


def test_an_unbind_is_answered_in_the_end_though_something_is_not() -> None:
    pair = Pair()
    pair.esme.submit(BODY, "first", pair.now)
    pair.esme.unbind(pair.now)
    pair.to_smsc()
    assert pair.smsc.deadline() == pair.now + 10
    assert pair.smsc.expire(pair.now + 9.9) == []
    assert not pair.smsc.ended
    assert pair.smsc.expire(pair.now + 10) == []
    assert pair.smsc.ended
    assert only(Unbound, pair.to_esme())


def test_an_unbind_that_is_not_answered_ends_all_the_same() -> None:
    pair = Pair()
    pair.esme.unbind(1000)
    assert pair.esme.deadline() == 1010
    only(Unbound, pair.esme.expire(1010))


def test_answers_still_count_while_unbinding() -> None:
    pair = Pair()
    sequence = pair.esme.submit(BODY, "mine", pair.now)
    pair.esme.unbind(pair.now)
    answer = pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("1"), sequence)
    assert only(Answered, pair.esme.receive(answer, pair.now)).message_id == "1"


def test_an_answer_is_owed_to_a_peer_that_is_there() -> None:
    pair = Pair()
    assert not pair.smsc.owes
    for _ in range(2):
        pair.esme.submit(BODY, None, pair.now)
    first, second = pair.to_smsc()
    assert isinstance(first, MessageArrived)
    assert isinstance(second, MessageArrived)
    pair.smsc.answer(first.sequence)
    assert pair.smsc.owes
    pair.smsc.close()
    assert not pair.smsc.owes


def test_who_unbinds_is_not_woken_for_the_time_of_a_bind() -> None:
    pair = Pair(init_s=10.0)
    pair.now += 60
    pair.to_smsc()
    pair.smsc.unbind(pair.now)
    deadline = pair.smsc.deadline()
    assert deadline is not None
    assert deadline > pair.now
