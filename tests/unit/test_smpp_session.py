"""Two SMPP sessions wired back to back, with time stepped by hand; and one fed with whatever octets."""

from collections.abc import Callable, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.smpp_pair import BODY, Pair, only

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import RESPONSE, BindKind, Command
from landline.protocols.smpp.errors import LocalProtocolError
from landline.protocols.smpp.events import (
    AlertArrived,
    Answered,
    AnsweredLate,
    BindArrived,
    BindRefused,
    MessageArrived,
    OutbindArrived,
    PduRefused,
    PeerLost,
    RequestArrived,
    Unanswered,
)
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import SEQUENCE_LIMIT, Session
from landline.protocols.smpp.states import BOUND, Role, State


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (BindKind.TRANSMITTER, State.BOUND_TX),
        (BindKind.RECEIVER, State.BOUND_RX),
        (BindKind.TRANSCEIVER, State.BOUND_TRX),
    ],
)
def test_a_bind_leaves_both_sides_in_the_same_state(kind: BindKind, state: State) -> None:
    pair = Pair(kind)
    assert pair.esme.state is pair.smsc.state is state


def test_a_refused_bind_leaves_the_session_open_for_another() -> None:
    pair = Pair(None)
    pair.esme.bind(BindKind.TRANSCEIVER, pdu.Bind("me", "wrong"), pair.now)
    pair.to_smsc()
    pair.smsc.refuse_bind(status.ESME_RINVPASWD)
    assert only(BindRefused, pair.to_esme()).status == status.ESME_RINVPASWD
    pair.esme.bind(BindKind.TRANSCEIVER, pdu.Bind("me", "right"), pair.now)
    only(BindArrived, pair.to_smsc())


def test_a_submission_is_answered_with_the_message_id() -> None:
    pair = Pair()
    pair.esme.submit(BODY, "mine", pair.now)
    arrived = only(MessageArrived, pair.to_smsc())
    pair.smsc.answer(arrived.sequence, message_id="42")
    assert only(Answered, pair.to_esme()) == Answered(Command.SUBMIT_SM, "mine", 0, "42")
    assert pair.esme.in_flight == 0


def test_a_refused_submission_has_the_status() -> None:
    pair = Pair()
    pair.esme.submit(BODY, "mine", pair.now)
    pair.smsc.answer(only(MessageArrived, pair.to_smsc()).sequence, status.ESME_RTHROTTLED)
    assert only(Answered, pair.to_esme()).status == status.ESME_RTHROTTLED


def test_a_delivery_is_answered_when_we_say_so() -> None:
    pair = Pair()
    sequence = pair.smsc.deliver(BODY, "theirs", pair.now)
    arrived = only(MessageArrived, pair.to_esme())
    assert pair.to_smsc() == []
    pair.esme.answer(arrived.sequence)
    answer = pair.esme.outgoing()
    assert answer == HEADER.pack(17, Command.DELIVER_SM | RESPONSE, 0, sequence) + b"\0"  # §4.6.2
    assert only(Answered, pair.smsc.receive(answer, pair.now)).context == "theirs"


def test_a_response_that_comes_twice_is_told_once() -> None:
    pair = Pair()
    sequences = [
        pair.esme.submit(BODY, "text", pair.now),
        pair.esme.request(Command.QUERY_SM, pdu.QuerySm("1"), "query", pair.now),
        pair.esme.request(Command.DATA_SM, pdu.DataSm(), "data", pair.now),
    ]
    commands = (Command.SUBMIT_SM, Command.QUERY_SM, Command.DATA_SM)
    answers = b"".join(
        HEADER.pack(16, command | RESPONSE, 8, at) for command, at in zip(commands, sequences, strict=True)
    )
    assert pair.esme.in_flight == 3
    assert len(pair.esme.receive(answers, pair.now)) == 3
    assert pair.esme.receive(answers, pair.now) == []
    assert (pair.esme.in_flight, pair.esme.free) == (0, pair.esme.limits.window)


@pytest.mark.parametrize(
    ("command", "body"), [(Command.CANCEL_SM, pdu.CancelSm()), (Command.REPLACE_SM, pdu.ReplaceSm())]
)
def test_some_responses_are_a_header_alone(command: Command, body: pdu.Body) -> None:
    pair = Pair()
    sequence = pair.esme.request(command, body, None, pair.now)
    pair.smsc.answer(only(RequestArrived, pair.to_smsc()).sequence)
    assert pair.smsc.outgoing() == HEADER.pack(16, command | RESPONSE, 0, sequence)


def test_a_message_id_has_64_octets_at_most() -> None:
    pair = Pair()
    pair.esme.submit(BODY, None, pair.now)
    arrived = only(MessageArrived, pair.to_smsc())
    pair.smsc.answer(arrived.sequence, message_id="x" * 64)
    assert only(Answered, pair.to_esme()).message_id == "x" * 64
    pair.esme.submit(BODY, None, pair.now)
    arrived = only(MessageArrived, pair.to_smsc())
    with pytest.raises(LocalProtocolError):
        pair.smsc.answer(arrived.sequence, message_id="x" * 65)


def test_what_was_not_asked_cannot_be_answered() -> None:
    with pytest.raises(LocalProtocolError):
        Pair().smsc.answer(7)


def test_whoever_has_gone_is_answered_nothing() -> None:
    pair = Pair()
    pair.esme.submit(BODY, None, pair.now)
    arrived = only(MessageArrived, pair.to_smsc())
    pair.smsc.close()
    pair.smsc.answer(arrived.sequence, message_id="1")
    assert pair.smsc.outgoing() == b""


def test_a_connection_that_is_gone_leaves_messages_and_questions_unanswered_once() -> None:
    pair = Pair()
    pair.esme.request(Command.QUERY_SM, pdu.QuerySm("1"), "query", pair.now)
    pair.esme.submit(BODY, "text", pair.now)
    pair.esme.enquire(pair.now)
    assert pair.esme.close() == [Unanswered(Command.SUBMIT_SM, "text"), Unanswered(Command.QUERY_SM, "query")]
    assert pair.esme.ended
    assert pair.esme.in_flight == 0
    assert pair.esme.close() == []
    assert pair.esme.expire(pair.now + 1000) == []


def test_other_requests_and_their_answers() -> None:
    pair = Pair()
    pair.esme.request(Command.QUERY_SM, pdu.QuerySm("42"), "q", pair.now)
    asked = only(RequestArrived, pair.to_smsc())
    assert asked.body == pdu.QuerySm("42")
    pair.smsc.answer(asked.sequence, body=pdu.QueryAnswer("42", "", 2, 0))
    assert only(Answered, pair.to_esme()).body == pdu.QueryAnswer("42", "", 2, 0)
    pair.smsc.notify(pdu.AlertNotification(source_addr="1"))
    assert only(AlertArrived, pair.to_esme()).alert.source_addr == "1"


def test_an_outbind_invites_a_receiver() -> None:
    pair = Pair(None)
    pair.smsc.notify(pdu.Outbind("them", "pw"))
    assert only(OutbindArrived, pair.to_esme()) == OutbindArrived("them", "pw")


def test_the_window_bounds_what_is_unanswered() -> None:
    pair = Pair(window=2)
    pair.esme.submit(BODY, 1, pair.now)
    pair.esme.submit(BODY, 2, pair.now)
    assert pair.esme.free == 0
    with pytest.raises(LocalProtocolError):
        pair.esme.submit(BODY, 3, pair.now)


def test_more_requests_than_the_peer_may_leave_open_are_refused() -> None:
    pair = Pair(peer_window=1)
    pair.esme.submit(BODY, 1, pair.now)
    pair.esme.submit(BODY, 2, pair.now)
    events = pair.to_smsc()
    assert [type(event) for event in events] == [MessageArrived, PduRefused]
    assert only(Answered, pair.to_esme()).status == status.ESME_RTHROTTLED


def test_requests_of_any_kind_are_answered_under_one_sequence_number() -> None:
    pair = Pair()
    asked = pdu.encode(Command.CANCEL_SM, pdu.CancelSm(), 7) + pdu.encode(Command.DATA_SM, pdu.DataSm(), 7)
    for event in reversed(pair.smsc.receive(asked, pair.now)):
        assert isinstance(event, RequestArrived)
        pair.smsc.answer(event.sequence)
    data_sm_resp = HEADER.pack(17, Command.DATA_SM | RESPONSE, 0, 7) + b"\0"
    assert pair.smsc.outgoing() == data_sm_resp + HEADER.pack(16, Command.CANCEL_SM | RESPONSE, 0, 7)


def test_requests_under_one_sequence_number_are_answered_one_by_one() -> None:
    pair = Pair(peer_window=3)
    events = pair.smsc.receive(b"".join(pdu.encode(Command.SUBMIT_SM, ShortMessage(), 7) for _ in range(4)), pair.now)
    assert [type(event) for event in events] == [MessageArrived] * 3 + [PduRefused]
    refused = pair.smsc.outgoing()
    for number, event in enumerate(events[:3]):
        assert isinstance(event, MessageArrived)
        pair.smsc.answer(event.sequence, message_id=str(number))
    assert refused[8:16] == bytes.fromhex("00000058 00000007")
    answer = "00000012 80000004 00000000 00000007"
    assert pair.smsc.outgoing() == bytes.fromhex("".join(f"{answer} {0x30 + number:02x}00" for number in range(3)))


def test_sequence_numbers_begin_again_and_skip_those_in_flight() -> None:
    pair = Pair()
    first = pair.esme.submit(BODY, "old", pair.now)
    pair.esme._sequence = SEQUENCE_LIMIT - 1
    assert pair.esme.submit(BODY, "last", pair.now) == SEQUENCE_LIMIT
    wrapped = [pair.esme.submit(BODY, n, pair.now) for n in range(3)]
    assert wrapped[0] == 1
    assert first not in wrapped


def session_in(role: Role, state: State) -> Session:
    kinds = {
        State.BOUND_TX: BindKind.TRANSMITTER,
        State.BOUND_RX: BindKind.RECEIVER,
        State.BOUND_TRX: BindKind.TRANSCEIVER,
    }
    pair = Pair(kinds.get(state))
    if state is State.BINDING:
        pair.esme.bind(BindKind.TRANSCEIVER, pdu.Bind("me"), pair.now)
        pair.to_smsc()
    session = pair.esme if role is Role.ESME else pair.smsc
    session.outgoing()
    return session


STATES = (State.OPEN, State.BINDING, State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX)
WRONG, AGAIN, LATER, UNKNOWN = (
    status.ESME_RINVBNDSTS,
    status.ESME_RALYBND,
    status.ESME_RX_T_APPN,
    status.ESME_RINVCMDID,
)
NACK = Command.GENERIC_NACK


@pytest.mark.parametrize(
    ("role", "state", "command", "answer", "refusal"),
    [
        (Role.SMSC, State.OPEN, Command.SUBMIT_SM, Command.SUBMIT_SM | RESPONSE, WRONG),
        (Role.SMSC, State.OPEN, Command.UNBIND, Command.UNBIND | RESPONSE, WRONG),
        (Role.SMSC, State.BINDING, Command.SUBMIT_SM, Command.SUBMIT_SM | RESPONSE, WRONG),
        (Role.SMSC, State.BINDING, Command.UNBIND, Command.UNBIND | RESPONSE, WRONG),
        (Role.SMSC, State.BINDING, Command.BIND_RECEIVER, Command.BIND_RECEIVER | RESPONSE, AGAIN),
        (Role.SMSC, State.BOUND_RX, Command.BIND_TRANSMITTER, Command.BIND_TRANSMITTER | RESPONSE, AGAIN),
        (Role.SMSC, State.BOUND_RX, Command.SUBMIT_SM, Command.SUBMIT_SM | RESPONSE, WRONG),
        (Role.SMSC, State.BOUND_TRX, Command.DELIVER_SM, NACK, UNKNOWN),
        (Role.SMSC, State.BOUND_TRX, Command.ALERT_NOTIFICATION, NACK, UNKNOWN),
        (Role.SMSC, State.BOUND_TRX, 0x21, NACK, UNKNOWN),
        (Role.ESME, State.OPEN, Command.UNBIND, Command.UNBIND | RESPONSE, WRONG),
        # What overtakes the answer to our bind is to come again.
        (Role.ESME, State.BINDING, Command.DELIVER_SM, Command.DELIVER_SM | RESPONSE, LATER),
        (Role.ESME, State.BINDING, Command.UNBIND, Command.UNBIND | RESPONSE, WRONG),
        (Role.ESME, State.BOUND_TX, Command.DELIVER_SM, Command.DELIVER_SM | RESPONSE, WRONG),
        # These have no response.
        (Role.ESME, State.BOUND_TX, Command.ALERT_NOTIFICATION, NACK, WRONG),
        (Role.ESME, State.BOUND_RX, Command.OUTBIND, NACK, WRONG),
        (Role.ESME, State.BOUND_TRX, Command.SUBMIT_SM, NACK, UNKNOWN),
        (Role.ESME, State.BOUND_TRX, Command.BIND_RECEIVER, NACK, UNKNOWN),
    ],
)
def test_what_a_state_does_not_allow_is_refused(
    role: Role, state: State, command: int, answer: int, refusal: int
) -> None:
    session = session_in(role, state)
    assert session.receive(HEADER.pack(16, command, 0, 9), 1000) == [PduRefused(command, refusal)]
    fields = b"\0" if answer == Command.DELIVER_SM | RESPONSE else b""
    assert session.outgoing() == HEADER.pack(16 + len(fields), answer, refusal, 9) + fields
    assert session.state is state


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("role", Role)
def test_enquire_link_is_answered_in_every_state(role: Role, state: State) -> None:
    session = session_in(role, state)
    assert session.receive(HEADER.pack(16, Command.ENQUIRE_LINK, 0, 9), 1000) == []
    assert session.outgoing() == HEADER.pack(16, Command.ENQUIRE_LINK | RESPONSE, 0, 9)


def submit(session: Session) -> None:
    session.submit(BODY, None, 1000)


def deliver(session: Session) -> None:
    session.deliver(BODY, None, 1000)


def query(session: Session) -> None:
    session.request(Command.QUERY_SM, pdu.QuerySm("1"), None, 1000)


def unbind(session: Session) -> None:
    session.unbind(1000)


@pytest.mark.parametrize(
    ("role", "say", "states"),
    [
        (Role.ESME, submit, {State.BOUND_TX, State.BOUND_TRX}),
        (Role.ESME, query, {State.BOUND_TX, State.BOUND_TRX}),
        (Role.ESME, unbind, BOUND),
        (Role.ESME, lambda session: session.bind(BindKind.RECEIVER, pdu.Bind("me"), 1000), {State.OPEN}),
        (Role.SMSC, deliver, {State.BOUND_RX, State.BOUND_TRX}),
        (Role.SMSC, lambda session: session.notify(pdu.AlertNotification()), {State.BOUND_RX, State.BOUND_TRX}),
        (Role.SMSC, lambda session: session.notify(pdu.Outbind("them")), {State.OPEN}),
        (Role.SMSC, unbind, BOUND),
        (Role.SMSC, query, set()),
    ],
)
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_said_that_the_state_does_not_allow(
    role: Role, say: Callable[[Session], None], states: Set[State], state: State
) -> None:
    session = session_in(role, state)
    if state in states:
        say(session)
        assert session.outgoing() != b""
    else:
        with pytest.raises(LocalProtocolError):
            say(session)
        assert session.outgoing() == b""
        assert session.in_flight == 0


@pytest.mark.parametrize(("said", "status_"), [(0, status.ESME_RUNKNOWNERR), (3, 3)])
@pytest.mark.parametrize("late", [False, True])
def test_a_generic_nack_is_a_refusal_whatever_it_says(said: int, status_: int, late: bool) -> None:
    pair = Pair(response_s=10, enquire_link_s=None)
    asked = [
        pair.esme.submit(BODY, "text", pair.now),
        pair.esme.request(Command.QUERY_SM, pdu.QuerySm("1"), "query", pair.now),
        pair.esme.request(Command.DATA_SM, pdu.DataSm(), "data", pair.now),
    ]
    if late:
        pair.esme.expire(pair.now + 10)
    nacks = b"".join(HEADER.pack(16, Command.GENERIC_NACK, said, sequence) for sequence in asked)
    answers = pair.esme.receive(nacks, pair.now + 10)
    assert len(answers) == (1 if late else 3)
    for answer in answers:
        assert isinstance(answer, AnsweredLate if late else Answered)
        assert answer.status == status_


@pytest.mark.parametrize(
    ("role", "command", "refusal"),
    [(Role.ESME, Command.DELIVER_SM, status.ESME_RX_T_APPN), (Role.SMSC, Command.SUBMIT_SM, status.ESME_RSYSERR)],
)
def test_what_comes_while_we_unbind_is_asked_for_again_later(role: Role, command: Command, refusal: int) -> None:
    pair = Pair()
    session = pair.esme if role is Role.ESME else pair.smsc
    session.unbind(pair.now)
    session.outgoing()
    assert session.receive(pdu.encode(command, ShortMessage(), 9), pair.now) == [PduRefused(command, refusal)]


@pytest.mark.parametrize(
    ("command", "body", "fields"),
    [
        (Command.SUBMIT_SM, ShortMessage(), 0),  # §4.4.2: not returned beside an error
        (Command.DELIVER_SM, ShortMessage(), 1),
        (Command.DATA_SM, pdu.DataSm(), 1),
        (Command.QUERY_SM, pdu.QuerySm("42"), 4),
        (Command.CANCEL_SM, pdu.CancelSm("", "42"), 0),
    ],
)
@pytest.mark.parametrize("by_us", [True, False])
def test_a_refusal_has_the_fields_that_its_response_cannot_go_without(
    command: Command, body: pdu.Body, fields: int, by_us: bool
) -> None:
    pair = Pair(peer_window=1 if by_us else 0)
    session = pair.esme if command == Command.DELIVER_SM else pair.smsc
    (event,) = session.receive(pdu.encode(command, body, 9), pair.now)
    if by_us:
        assert isinstance(event, MessageArrived | RequestArrived)
        session.answer(event.sequence, status.ESME_RSYSERR)
    answer = session.outgoing()
    assert answer[:8] == HEADER.pack(16 + fields, command | RESPONSE, 0, 0)[:8]
    assert answer[16:] == bytes(fields)


def test_an_unreadable_request_is_refused_and_the_session_goes_on() -> None:
    pair = Pair()
    pair.smsc.receive(pdu.encode(Command.SUBMIT_SM, None, 9), pair.now)
    assert pair.smsc.outgoing()[4:16] == bytes.fromhex("80000004 00000002 00000009")
    pair.esme.submit(BODY, None, pair.now)
    only(MessageArrived, pair.to_smsc())


@pytest.mark.parametrize("command", [Command.SUBMIT_SM, Command.DATA_SM])
@pytest.mark.parametrize("stray", ["04240009 6162", "0424", "042400"])
def test_a_submission_whose_tlvs_are_cut_off_is_refused(command: Command, stray: str) -> None:
    octets = pdu.encode_body(ShortMessage() if command is Command.SUBMIT_SM else pdu.DataSm()) + bytes.fromhex(stray)
    frame = HEADER.pack(16 + len(octets), command, 0, 9) + octets
    pair = Pair()
    assert pair.smsc.receive(frame, pair.now) == [PduRefused(command, 0xC0)]


def test_padding_is_no_tlv_and_a_carriers_text_is_taken_as_it_is() -> None:
    padded = pdu.encode_body(ShortMessage(short_message=b"hi")) + b"\0"
    cut = pdu.encode_body(ShortMessage(short_message=b"hi")) + bytes.fromhex("04240009 6162")
    pair = Pair()
    for session, command, octets in [
        (pair.smsc, Command.SUBMIT_SM, padded),
        (pair.esme, Command.DELIVER_SM, padded),
        (pair.esme, Command.DELIVER_SM, cut),
    ]:
        frame = HEADER.pack(16 + len(octets), command, 0, 9) + octets
        assert only(MessageArrived, session.receive(frame, pair.now)).message.short_message == b"hi"


def test_a_generic_nack_answers_the_request_it_names() -> None:
    pair = Pair()
    sequence = pair.esme.submit(BODY, "mine", pair.now)
    events = pair.esme.receive(pdu.encode(Command.GENERIC_NACK, None, sequence, 3), pair.now)
    assert only(Answered, events) == Answered(Command.SUBMIT_SM, "mine", 3)


def test_answers_to_nothing_we_asked_are_ignored() -> None:
    pair = Pair()
    sequence = pair.esme.submit(BODY, "mine", pair.now)
    assert pair.esme.receive(pdu.encode(Command.DELIVER_SM | RESPONSE, None, sequence), pair.now) == []
    assert pair.esme.receive(pdu.encode(Command.SUBMIT_SM | RESPONSE, None, 999), pair.now) == []
    asked = pair.esme.request(Command.QUERY_SM, pdu.QuerySm("1"), "query", pair.now)
    assert pair.esme.receive(pdu.encode(Command.CANCEL_SM | RESPONSE, None, asked), pair.now) == []
    assert pair.esme.in_flight == 2


def test_octets_that_are_no_smpp_end_the_session_with_a_generic_nack() -> None:
    pair = Pair()
    events = pair.smsc.receive(b"GET / HTTP/1.1\r\n\r\n", pair.now)
    only(PeerLost, events)
    assert pair.smsc.outgoing() == HEADER.pack(16, NACK, status.ESME_RINVCMDLEN, 0)  # §4.3.1
    assert pair.smsc.receive(b"more", pair.now) == []


def test_answers_in_front_of_garbage_are_not_lost() -> None:
    pair = Pair()
    sequence = pair.esme.submit(BODY, "mine", pair.now)
    good = pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("1"), sequence)
    assert [type(event) for event in pair.esme.receive(good + b"\0\0\0\0", pair.now)] == [Answered, PeerLost]


def test_a_silent_peer_is_asked_and_then_given_up() -> None:
    pair = Pair(enquire_link_s=30, response_s=10)
    assert pair.esme.deadline() == 1030
    assert pair.esme.expire(1029.9) == []
    assert pair.esme.expire(1030) == []
    assert pair.esme.outgoing()[4:8] == bytes.fromhex("00000015")
    assert pair.esme.deadline() == 1040
    assert only(PeerLost, pair.esme.expire(1040)).reason == "silent for 40 s"
    assert pair.esme.deadline() is None


def test_an_answered_enquire_link_keeps_the_session() -> None:
    pair = Pair(enquire_link_s=30, response_s=10)
    pair.now = 1030.0
    pair.esme.expire(pair.now)
    assert pair.to_smsc() == []
    assert pair.to_esme() == []
    assert pair.esme.deadline() == 1060
    assert pair.esme.expire(1040) == []


def test_any_octets_prove_the_peer_alive() -> None:
    pair = Pair(enquire_link_s=30, response_s=10)
    pair.esme.expire(1030)
    pair.smsc.deliver(BODY, None, 1035)
    pair.now = 1035.0
    pair.to_esme()
    assert pair.esme.expire(1040) == []
    assert pair.esme.state is State.BOUND_TRX


def test_a_request_that_is_not_answered_in_time_is_told() -> None:
    pair = Pair(enquire_link_s=None, response_s=10)
    pair.esme.submit(BODY, "first", 1000)
    pair.esme.submit(BODY, "second", 1004)
    assert pair.esme.deadline() == 1010
    assert pair.esme.expire(1010) == [Unanswered(Command.SUBMIT_SM, "first")]
    assert pair.esme.deadline() == 1014
    assert pair.esme.close() == [Unanswered(Command.SUBMIT_SM, "second")]


def expired(pair: Pair, context: object) -> bytes:
    """A submission whose response timer has run out; the response that the SMSC has for it."""
    sequence = pair.esme.submit(BODY, context, pair.now)
    pair.now += pair.esme.limits.response_s
    assert only(Unanswered, pair.esme.expire(pair.now)).context == context
    return pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(f"id of {context}"), sequence)


def test_a_response_after_its_timer_is_told_as_late_and_once() -> None:
    pair = Pair(enquire_link_s=None)
    late = expired(pair, "mine")
    assert pair.esme.receive(late, pair.now + 5) == [AnsweredLate("mine", status.ESME_ROK, "id of mine")]
    assert pair.esme.receive(late, pair.now + 5) == []
    assert pair.esme.in_flight == 0


def test_a_generic_nack_may_be_late_too_and_another_command_is_none() -> None:
    pair = Pair(enquire_link_s=None)
    expired(pair, "mine")
    assert pair.esme.receive(pdu.encode(Command.DELIVER_SM | RESPONSE, None, 2), pair.now) == []
    events = pair.esme.receive(pdu.encode(Command.GENERIC_NACK, None, 2, 3), pair.now)
    assert events == [AnsweredLate("mine", 3)]


def test_late_responses_are_known_for_a_bounded_time() -> None:
    pair = Pair(enquire_link_s=None, late_s=60)
    first = expired(pair, "first")
    pair.now += 40
    second = expired(pair, "second")
    pair.now += 10
    pair.esme.expire(pair.now)
    assert pair.esme.receive(first, pair.now) == []
    assert only(AnsweredLate, pair.esme.receive(second, pair.now)).context == "second"
    third = expired(pair, "third")
    assert pair.esme.expire(pair.now + 60) == []
    assert pair.esme.receive(third, pair.now + 60) == []


def test_late_responses_are_known_in_a_bounded_number() -> None:
    pair = Pair(enquire_link_s=None, late=2)
    late = [expired(pair, number) for number in range(4)]
    pair.esme.expire(pair.now)
    known = [pair.esme.receive(each, pair.now) for each in late]
    assert [only(AnsweredLate, events).context for events in known if events] == [2, 3]


def test_deliveries_that_come_again_anyway_have_no_late_responses() -> None:
    pair = Pair(enquire_link_s=None)
    sequence = pair.smsc.deliver(BODY, "theirs", pair.now)
    only(Unanswered, pair.smsc.expire(pair.now + 10))
    assert pair.smsc.receive(pdu.encode(Command.DELIVER_SM | RESPONSE, None, sequence), pair.now + 11) == []


def test_a_slow_peer_is_not_waited_for_longer_than_it_takes_to_know_that_it_is_there() -> None:
    pair = Pair(enquire_link_s=30, response_s=60, control_s=10)
    pair.esme.submit(BODY, "slow", 1000)
    pair.esme.request(Command.QUERY_SM, pdu.QuerySm("42"), "asked", 1001)
    assert pair.esme.in_flight == 2
    assert pair.esme.deadline() == 1011
    assert pair.esme.expire(1011) == [Unanswered(Command.QUERY_SM, "asked")]
    assert pair.esme.in_flight == 1
    assert pair.esme.expire(1030) == []
    assert pair.esme.deadline() == 1040
    only(PeerLost, pair.esme.expire(1040))
    assert pair.esme.close() == [Unanswered(Command.SUBMIT_SM, "slow")]


def test_a_bind_may_be_refused_by_a_generic_nack() -> None:
    session = session_in(Role.ESME, State.OPEN)
    session.bind(BindKind.TRANSCEIVER, pdu.Bind("me"), 1000)
    assert session.receive(HEADER.pack(16, NACK, 0, 1), 1000) == [BindRefused(status.ESME_RUNKNOWNERR)]
    assert session.state is State.OPEN


def test_a_bind_that_is_not_answered_ends_the_session() -> None:
    pair = Pair(None, init_s=None)
    pair.esme.bind(BindKind.TRANSMITTER, pdu.Bind("me"), 1000)
    only(PeerLost, pair.esme.expire(1010))


def test_a_connection_without_a_bind_is_given_up() -> None:
    pair = Pair(None, init_s=5)
    assert pair.smsc.deadline() == 1005
    only(PeerLost, pair.smsc.expire(1005))


def test_an_inactive_session_is_given_up_though_enquire_link_is_answered() -> None:
    pair = Pair(inactivity_s=60, enquire_link_s=30)
    pair.now = 1030.0
    pair.esme.enquire(1030)
    pair.to_smsc()
    only(PeerLost, pair.smsc.expire(1060))


def test_requests_of_either_side_are_activity_and_enquire_link_is_none() -> None:
    pair = Pair(inactivity_s=60, enquire_link_s=None, response_s=1000)
    assert pair.smsc.deadline() == 1060
    pair.now = 1020.0
    pair.esme.submit(BODY, None, pair.now)
    pair.to_smsc()
    assert pair.esme.deadline() == pair.smsc.deadline() == 1080
    pair.now = 1030.0
    pair.smsc.enquire(pair.now)
    pair.to_esme()
    pair.to_smsc()
    assert pair.esme.expire(1079.9) == []
    assert only(PeerLost, pair.esme.expire(1080)).reason == "inactive"
    only(PeerLost, pair.smsc.expire(1080))
    assert pair.smsc.expire(1081) == []


def test_a_timer_that_is_switched_off_ends_nothing() -> None:
    pair = Pair(None, init_s=None, enquire_link_s=None)
    assert pair.smsc.deadline() is None
    assert pair.smsc.expire(10_000) == []
    bound = Pair(enquire_link_s=None, init_s=5)
    assert bound.smsc.deadline() is None
    assert bound.smsc.expire(10_000) == []


def test_the_time_for_a_bind_goes_on_while_it_is_answered() -> None:
    pair = Pair(None, init_s=5)
    pair.esme.bind(BindKind.RECEIVER, pdu.Bind("me"), 1000)
    pair.to_smsc()
    assert pair.smsc.deadline() == 1005
    assert pair.smsc.expire(1004.9) == []
    assert only(PeerLost, pair.smsc.expire(1005)).reason == "its bind was not answered in time"


def test_who_says_no_bind_in_time_is_told_apart_from_who_waits_for_the_answer() -> None:
    pair = Pair(None, init_s=5)
    assert only(PeerLost, pair.smsc.expire(1005)).reason == "no bind in time"


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
def test_no_octets_make_a_session_raise(chunks: list[bytes], smsc: bool) -> None:
    pair = Pair()
    session = pair.smsc if smsc else pair.esme
    for chunk in chunks:
        session.receive(chunk, 1000)


@given(
    st.lists(st.tuples(st.sampled_from([*Command, 0x80000004, 0x21]), st.integers(0, 5), st.binary(max_size=60))),
    st.booleans(),
    st.booleans(),
)
def test_no_framed_octets_make_a_session_raise(frames: list[tuple[int, int, bytes]], bound: bool, smsc: bool) -> None:
    pair = Pair(BindKind.TRANSCEIVER if bound else None)
    if bound:
        pair.esme.submit(BODY, None, 1000)
    session = pair.smsc if smsc else pair.esme
    for command, sequence, body in frames:
        head = b"".join(n.to_bytes(4, "big") for n in (16 + len(body), command, 0, sequence))
        session.receive(head + body, 1000)
        session.deadline()


def test_since_when_an_answer_is_awaited_is_told() -> None:
    pair = Pair()
    assert pair.esme.awaiting_since is None
    pair.esme.submit(BODY, "first", pair.now)
    pair.now += 2
    pair.esme.submit(BODY, "second", pair.now)
    assert pair.esme.awaiting_since == pytest.approx(pair.now - 2)
    first, second = pair.to_smsc()
    assert isinstance(first, MessageArrived)
    assert isinstance(second, MessageArrived)
    pair.smsc.answer(first.sequence, message_id="1")
    pair.to_esme()
    assert pair.esme.awaiting_since == pytest.approx(pair.now)
    pair.smsc.answer(second.sequence, message_id="2")
    pair.to_esme()
    assert pair.esme.awaiting_since is None


def test_questions_under_one_sequence_number_are_each_answered() -> None:
    pair = Pair()
    asked = [pdu.encode(Command.QUERY_SM, pdu.QuerySm(message_id), 7) for message_id in ("1", "2")]
    first, second = pair.smsc.receive(b"".join(asked), pair.now)
    assert isinstance(first, RequestArrived)
    assert isinstance(second, RequestArrived)
    for event in (first, second):
        pair.smsc.answer(event.sequence, status.ESME_RQUERYFAIL)
    refusal = HEADER.pack(16, Command.QUERY_SM | RESPONSE, status.ESME_RQUERYFAIL, 7)
    assert pair.smsc.outgoing().count(refusal[4:]) == 2
    assert not pair.smsc.owes
