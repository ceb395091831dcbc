"""One SMPP 3.4 session, as ESME or as SMSC, without I/O: octets and `now` in, events and octets out.

The caller reads, passes octets to `receive`, acts on the events, writes `outgoing()`, and calls `expire` at
`deadline()`. Instants are seconds of any clock that does not go back.
"""

from collections import OrderedDict

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import INTERFACE_VERSION, RESPONSE, BindKind, Command, Tag
from landline.protocols.smpp.errors import LocalProtocolError, MalformedPdu
from landline.protocols.smpp.events import (
    AlertArrived,
    Answered,
    AnsweredLate,
    BindArrived,
    BindRefused,
    Bound,
    Event,
    MessageArrived,
    OutbindArrived,
    PduRefused,
    PeerLost,
    RequestArrived,
    Unanswered,
    Unbound,
)
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES, Framer
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.owed import Owed
from landline.protocols.smpp.states import BOUND, BOUND_BY, ISSUED, NEXT, Role, State, Step
from landline.protocols.smpp.waiting import Waiting, answered, first_end, forget_late, of_nack, overdue

SEQUENCE_LIMIT = 0x7FFFFFFF  # §5.1.4

# Plain integers: an IntEnum's comparisons cost more than the rest of cutting a frame.
_SUBMIT, _DELIVER, _DATA = int(Command.SUBMIT_SM), int(Command.DELIVER_SM), int(Command.DATA_SM)
_BINDS = {kind.value: kind for kind in BindKind}
_ENQUIRE, _UNBIND = int(Command.ENQUIRE_LINK), int(Command.UNBIND)
_NACK = int(Command.GENERIC_NACK)
_WINDOWED = frozenset(
    (_SUBMIT, _DELIVER, _DATA, int(Command.QUERY_SM), int(Command.CANCEL_SM), int(Command.REPLACE_SM))
)

_header_at = HEADER.unpack_from
_header = HEADER.pack


class Session:
    """See the module. What we say out of state raises `LocalProtocolError`; what the peer says never raises."""

    def __init__(self, role: Role, now: float, limits: Limits | None = None) -> None:
        self.role = role
        self._peer = role.peer
        self.state = State.OPEN
        self.limits = limits or Limits()
        self.bind_kind: BindKind | None = None
        """Set while a bind is under way and after it."""
        # An ESME is told that its submission was cut off. What an SMSC brings is taken as far as it can be read: it
        # would bring it no other way the next time.
        self._strict = role is Role.SMSC
        self._waits = role is Role.ESME
        self._framer = Framer(self.limits.pdu_bytes)
        self._out: list[bytes] = []
        self._sequence = 0
        self._pending: Waiting = {}
        self._asked: Waiting = {}
        self._in_window = 0
        # By sequence number, of which there are too many for one to be used again within `late_s`. Ordered, for the
        # oldest to go in no time.
        self._late: OrderedDict[int, tuple[float, object]] = OrderedDict()
        self._owed = Owed()
        self._bind_sequence = 0
        # The peer's unbind while it is owed answers: its sequence number, and when it is answered without them.
        self._unbind: tuple[int, float] | None = None
        # Our unbind while we owe answers.
        self._goodbye = b""
        self._peer_knows_tlvs = True
        self._opened_at = self._heard_at = self._active_at = now
        self._enquired_at: float | None = None
        self._said_bytes = 0

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What `data` brings about. Never raises: octets that are no SMPP end the session with `PeerLost`."""
        events: list[Event] = []
        if self.state is State.CLOSED:
            return events
        self._heard_at = now
        self._said_bytes += len(data)
        if self._said_bytes > self.limits.init_bytes and self.state in (State.OPEN, State.BINDING):
            return [self._end(PeerLost("too much before it was bound"))]
        for frame in self._framer.receive(data):
            _, command, state, sequence = _header_at(frame)
            if command & RESPONSE:
                self._take_response(frame, command, state, sequence, events)
            else:
                self._take_request(frame, command, sequence, now, events)
            if self.ended:
                return events
        self._settle_unbind()
        if self._framer.fault is not None:
            self._out.append(_header(HEADER_BYTES, _NACK, status.ESME_RINVCMDLEN, 0))  # §4.3
            events.append(self._end(PeerLost(str(self._framer.fault))))
        return events

    def _take_response(self, frame: bytes, command: int, state: int, sequence: int, events: list[Event]) -> None:
        pending = self._pending.get(sequence)
        if pending is None or (command != _NACK and command != pending[0] | RESPONSE):
            self._take_rare(frame, command, state, sequence, events)
            return
        del self._pending[sequence]
        self._in_window -= 1
        asked, _, context = pending
        events.append(answered(asked, context, frame, command, state))

    def _take_rare(self, frame: bytes, command: int, state: int, sequence: int, events: list[Event]) -> None:
        """The response to what is asked seldom; or one that comes too late, or to nothing we asked."""
        pending = self._asked.get(sequence)
        if pending is None or (command != _NACK and command != pending[0] | RESPONSE):
            self._take_late(frame, command, state, sequence, events)
            return
        del self._asked[sequence]
        asked, _, context = pending
        if asked in _WINDOWED:
            self._in_window -= 1
        if asked == _DATA:
            events.append(answered(asked, context, frame, command, state))
        elif asked in _BINDS:
            self._take_bind_answer(frame, command, state, events)
        elif asked == _UNBIND:
            events.append(self._end(Unbound(by_peer=False)))
        elif asked == _ENQUIRE:
            self._enquired_at = None
        else:
            body = None if command == _NACK else pdu.decode(frame)
            events.append(Answered(asked, context, of_nack(state) if command == _NACK else state, body=body))

    def _take_late(self, frame: bytes, command: int, state: int, sequence: int, events: list[Event]) -> None:
        if sequence in self._late and command in (_NACK, _SUBMIT | RESPONSE):
            _, context = self._late.pop(sequence)
            response = answered(_SUBMIT, context, frame, command, state)
            events.append(AnsweredLate(context, response.status, response.message_id))

    def _take_bind_answer(self, frame: bytes, command: int, state: int, events: list[Event]) -> None:
        assert self.bind_kind is not None
        body = pdu.decode(frame)
        if state == status.ESME_ROK and command != _NACK and isinstance(body, pdu.BindAnswer):
            self._step(BOUND_BY[self.bind_kind])
            events.append(Bound(body.system_id, body.tlvs))
        else:
            self._step(Step.REFUSED)
            events.append(BindRefused(state or status.ESME_RUNKNOWNERR))

    def _take_request(self, frame: bytes, command: int, sequence: int, now: float, events: list[Event]) -> None:
        allowed = ISSUED.get((self._peer, command))
        if allowed is None:
            self._refuse(command, sequence, status.ESME_RINVCMDID, events)
        elif command == _UNBIND and self.state is State.UNBINDING and self._unbind is None:
            self._take_unbind(sequence, now, events)  # it crossed ours
        elif self.state not in allowed:
            self._refuse(command, sequence, self._misplaced(command), events)
        elif command == _ENQUIRE:
            self._out.append(_header(HEADER_BYTES, _ENQUIRE | RESPONSE, 0, sequence))
        else:
            self._active_at = now
            try:
                self._take_allowed(frame, command, sequence, now, events)
            except MalformedPdu as error:
                self._refuse(command, sequence, error.status, events)

    def _take_allowed(self, frame: bytes, command: int, sequence: int, now: float, events: list[Event]) -> None:
        if command in _WINDOWED and not self._owed.has_room(len(frame), self.limits):
            throttled = status.ESME_RTHROTTLED if self.role is Role.SMSC else status.ESME_RX_T_APPN
            self._refuse(command, sequence, throttled, events)
        elif command in (_SUBMIT, _DELIVER):
            message = pdu.decode_message(frame, strict=self._strict)
            sequence = self._owed.begin(command, sequence, len(frame))
            events.append(MessageArrived(sequence, message))
        elif command == _UNBIND:
            self._take_unbind(sequence, now, events)
        else:
            body = pdu.decode(frame, strict=self._strict)
            self._take_other(command, sequence, len(frame), body, events)

    def _take_unbind(self, sequence: int, now: float, events: list[Event]) -> None:
        """What the peer asked before is answered first: it would have to ask again what it heard nothing of. An ESME
        waits for answers, too: what it submitted and hears nothing of would be sent twice."""
        self._unbind = (sequence, now + self.limits.control_s)
        if self.state is not State.UNBINDING:
            self._step(Step.UNBIND)
        events.append(Unbound(by_peer=True))
        self._settle_unbind()

    def _settle_unbind(self) -> None:
        if self._unbind is not None and not self._owed and not (self._waits and self._in_window):
            self._answer_unbind(self._unbind[0])
        if self._goodbye and not self._owed and not self.ended:  # not beside our answer to the peer's own unbind
            self._out.append(self._goodbye)
            self._goodbye = b""

    def _answer_unbind(self, sequence: int) -> None:
        self._unbind = None
        self._out.append(_header(HEADER_BYTES, _UNBIND | RESPONSE, 0, sequence))
        self._step(Step.END)

    def _take_other(self, command: int, sequence: int, size: int, body: pdu.Body | None, events: list[Event]) -> None:
        if isinstance(body, pdu.Bind):
            self.bind_kind = _BINDS[command]
            self._bind_sequence = sequence
            self._peer_knows_tlvs = body.interface_version >= INTERFACE_VERSION
            self._step(Step.BIND)
            events.append(BindArrived(self.bind_kind, body))
        elif isinstance(body, pdu.Outbind):
            events.append(OutbindArrived(body.system_id, body.password))
        elif isinstance(body, pdu.AlertNotification):
            events.append(AlertArrived(body))
        elif body is not None:
            sequence = self._owed.begin(command, sequence, size)
            events.append(RequestArrived(sequence, command, body))

    def _misplaced(self, command: int) -> int:
        """The status of a request that this state does not allow."""
        racing = self.state is State.UNBINDING or (self.state is State.BINDING and self.role is Role.ESME)
        if racing and command in _WINDOWED:
            # The peer may have sent it before it read our unbind, or beside its answer to our bind. It is to come
            # again, not to be given up as wrong.
            return status.ESME_RSYSERR if self.role is Role.SMSC else status.ESME_RX_T_APPN
        return status.ESME_RALYBND if command in _BINDS else status.ESME_RINVBNDSTS

    def _refuse(self, command: int, sequence: int, state: int, events: list[Event]) -> None:
        known = state != status.ESME_RINVCMDID and command not in (Command.OUTBIND, Command.ALERT_NOTIFICATION)
        octets = pdu.REFUSAL_BODIES.get(command, b"") if known else b""
        size = HEADER_BYTES + len(octets)
        self._out.append(_header(size, command | RESPONSE if known else _NACK, state, sequence) + octets)
        events.append(PduRefused(command, state))

    @property
    def free(self) -> int:
        """How many more requests the window takes now."""
        return self.limits.window - self._in_window

    @property
    def in_flight(self) -> int:
        """Our requests that are unanswered."""
        return self._in_window

    @property
    def owes(self) -> bool:
        """Whether a peer that is there waits for an answer."""
        return bool(self._owed) and self.state is not State.CLOSED

    @property
    def awaiting_since(self) -> float | None:
        """When the oldest submit_sm or deliver_sm was sent that is waited for; None when none is."""
        return next((ends - self.limits.response_s for ends in first_end(self._pending)), None)

    @property
    def heard_at(self) -> float:
        """When the peer said something last."""
        return self._heard_at

    @property
    def ended(self) -> bool:
        return self.state is State.CLOSED

    @property
    def can_submit(self) -> bool:
        return self.state is State.BOUND_TX or self.state is State.BOUND_TRX

    @property
    def can_deliver(self) -> bool:
        return self.state is State.BOUND_RX or self.state is State.BOUND_TRX

    def bind(self, kind: BindKind, bind: pdu.Bind, now: float) -> None:
        """Ask to be bound; `Bound` or `BindRefused` follows."""
        self._ask(kind.value, pdu.encode_body(bind), None, now)
        self.bind_kind = kind
        self._step(Step.BIND)

    def accept_bind(self, system_id: str) -> None:
        """Answer `BindArrived`: bound. The response says which version we speak (§5.3.2.25), unless the peer's is an
        earlier one, to which nothing optional may be sent (§3.4)."""
        assert self.bind_kind is not None
        self._step(BOUND_BY[self.bind_kind])
        version = ((int(Tag.SC_INTERFACE_VERSION), bytes((INTERFACE_VERSION,))),)
        answer = pdu.BindAnswer(system_id, version if self._peer_knows_tlvs else ())
        self._out.append(pdu.encode(self.bind_kind.value | RESPONSE, answer, self._bind_sequence))

    def refuse_bind(self, state: int) -> None:
        """Answer `BindArrived`: not bound, for the reason of that command_status."""
        assert self.bind_kind is not None
        self._step(Step.REFUSED)
        self._out.append(_header(HEADER_BYTES, self.bind_kind.value | RESPONSE, state, self._bind_sequence))

    def submit(self, body: bytes, context: object, now: float) -> int:
        """Send a submit_sm whose body was encoded before; its sequence number. Needs a `free` place in the window."""
        if not self.can_submit:
            raise LocalProtocolError(f"submit_sm in state {self.state.value}")
        return self._ask(_SUBMIT, body, context, now)

    def deliver(self, body: bytes, context: object, now: float) -> int:
        """Send a deliver_sm whose body was encoded before, without its TLVs to who does not know them; its sequence
        number."""
        if not self.can_deliver:
            raise LocalProtocolError(f"deliver_sm in state {self.state.value}")
        return self._ask(_DELIVER, body if self._peer_knows_tlvs else pdu.without_tlvs(body), context, now)

    def request(self, command: int, body: pdu.Body, context: object, now: float) -> int:
        """Send a data_sm, query_sm, cancel_sm or replace_sm; its sequence number."""
        return self._ask(command, pdu.encode_body(body), context, now)

    def notify(self, body: pdu.AlertNotification | pdu.Outbind) -> None:
        """Send what has no answer."""
        outbind = isinstance(body, pdu.Outbind)
        command = Command.OUTBIND if outbind else Command.ALERT_NOTIFICATION
        self._check(command)
        self._out.append(pdu.encode(command, body, self._next_sequence()))

    def answer(self, sequence: int, state: int = 0, message_id: str = "", body: pdu.Body | None = None) -> None:
        """Answer a request of the peer's, by the `sequence` of its event. Only an accepted one has a body."""
        command = self._owed.end(sequence)
        if command is None:
            raise LocalProtocolError(f"nothing with sequence number {sequence} is to be answered")
        sequence &= 0xFFFFFFFF
        if self.state is State.CLOSED:
            return  # the peer has gone; what it asked is settled on our side all the same
        if state != status.ESME_ROK:
            octets = pdu.REFUSAL_BODIES.get(command, b"")
        elif body is not None:
            octets = pdu.encode_body(body)
        elif command == _DELIVER:
            octets = b"\0"
        elif command in (_SUBMIT, _DATA):
            octets = pdu.c_octets(message_id, 65)
        else:
            octets = b""
        self._out.append(_header(HEADER_BYTES + len(octets), command | RESPONSE, state, sequence) + octets)
        self._settle_unbind()

    def unbind(self, now: float) -> None:
        """Ask to end the session; `Unbound` follows. Answers to what is in flight are still taken."""
        self._ask(_UNBIND, b"", None, now)
        self._step(Step.UNBIND)

    def part(self, now: float) -> None:
        """`unbind` once all is answered that the peer asked: many close as soon as they are asked to."""
        self.unbind(now)
        self._goodbye = self._out.pop()
        self._settle_unbind()

    def enquire(self, now: float) -> None:
        """Ask whether the peer is there; `PeerLost` follows when it stays silent for the response timer."""
        if self._enquired_at is None:  # else it is being asked
            self._enquired_at = now
            self._ask(_ENQUIRE, b"", now, now)

    def close(self) -> list[Unanswered]:
        """The connection is gone: what of ours it leaves unanswered, messages first and oldest first."""
        self.state = State.CLOSED
        left = [
            Unanswered(command, context)
            for command, _, context in (*self._pending.values(), *self._asked.values())
            if command in _WINDOWED
        ]
        self._pending.clear()
        self._asked.clear()
        self._late.clear()
        self._in_window = 0
        return left

    def outgoing(self) -> bytes:
        """The octets to write now."""
        if not self._out:
            return b""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def _ask(self, command: int, body: bytes, context: object, now: float) -> int:
        waiting, timer_s = self._pending, self.limits.response_s
        if command != _SUBMIT and command != _DELIVER:
            self._check(command)
            waiting, timer_s = self._asked, self.limits.control_s
        if command in _WINDOWED:
            if self._in_window >= self.limits.window:
                raise LocalProtocolError("the window is full")
            self._in_window += 1
            self._active_at = now
        sequence = self._next_sequence()
        waiting[sequence] = (command, now + timer_s, context)
        self._out.append(_header(HEADER_BYTES + len(body), command, 0, sequence) + body)
        return sequence

    def _check(self, command: int) -> None:
        if self.state not in ISSUED.get((self.role, command), ()):
            raise LocalProtocolError(f"command {command:#x} in state {self.state.value}")

    def _next_sequence(self) -> int:
        self._sequence = sequence = self._sequence + 1 if self._sequence < SEQUENCE_LIMIT else 1
        return sequence if sequence not in self._pending else self._next_sequence()

    def deadline(self) -> float | None:
        """When `expire` wants to be called next. It moves to an earlier instant only when a request is sent,
        or the peer unbinds."""
        if self.state is State.CLOSED:
            return None
        instants = [expires for waiting in (self._pending, self._asked) for expires in first_end(waiting)]
        enquire_at = self._enquire_at()
        if enquire_at is not None:
            instants.append(enquire_at)
        if self._unbind is not None:
            instants.append(self._unbind[1])
        if self.state in BOUND:
            if self.limits.inactivity_s is not None:
                instants.append(self._active_at + self.limits.inactivity_s)
        elif self.limits.init_s is not None and self.state is not State.UNBINDING:
            instants.append(self._opened_at + self.limits.init_s)
        return min(instants, default=None)

    def expire(self, now: float) -> list[Event]:
        """What the passing of time brings about."""
        events: list[Event] = []
        if self.state is State.CLOSED:
            return events
        self._expire_pending(now, events)
        if self.ended:
            return events
        if self._unbind is not None and now >= self._unbind[1]:
            self._answer_unbind(self._unbind[0])
            return events
        lost = self._outlived(now)
        if lost is not None:
            events.append(self._end(PeerLost(lost)))
            return events
        enquire_at = self._enquire_at()
        if enquire_at is not None and now >= enquire_at:
            self.enquire(now)
        return events

    def _enquire_at(self) -> float | None:
        if self.limits.enquire_link_s is None or self._enquired_at is not None or self.state not in BOUND:
            return None
        return self._heard_at + self.limits.enquire_link_s

    def _expire_pending(self, now: float, events: list[Event]) -> None:
        forget_late(self._late, self.limits.late, now)
        for sequence in overdue(self._pending, now):
            command, _, context = self._pending.pop(sequence)
            self._in_window -= 1
            events.append(Unanswered(command, context))
            if command == _SUBMIT:
                self._late[sequence] = (now + self.limits.late_s, context)
        for sequence in overdue(self._asked, now):
            command, _, context = self._asked.pop(sequence)
            if command in _WINDOWED:
                self._in_window -= 1
                events.append(Unanswered(command, context))
            elif command == _ENQUIRE:
                asked_at, self._enquired_at = self._enquired_at, None
                if asked_at is None or self._heard_at <= asked_at:
                    events.append(self._end(PeerLost(f"silent for {now - self._heard_at:.0f} s")))
                    return
            elif command == _UNBIND:
                events.append(self._end(Unbound(by_peer=False)))
                return
            else:
                events.append(self._end(PeerLost("the bind was not answered")))
                return

    def _outlived(self, now: float) -> str | None:
        limits = self.limits
        if self.state in (State.OPEN, State.BINDING):
            if limits.init_s is not None and now >= self._opened_at + limits.init_s:
                return "no bind in time" if self.state is State.OPEN else "its bind was not answered in time"
        elif limits.inactivity_s is not None and now >= self._active_at + limits.inactivity_s:
            return "inactive"
        return None

    def _step(self, step: Step) -> None:
        state = NEXT.get((self.state, step))
        if state is None:
            raise LocalProtocolError(f"{step.value} in state {self.state.value}")
        self.state = state

    def _end(self, event: Event) -> Event:
        self._step(Step.END)
        return event
