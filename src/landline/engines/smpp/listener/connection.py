"""One customer's connection: its bind is checked, its submissions are taken in batches and answered once durable."""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import structlog

from landline.core import phone
from landline.core.errors import Refusal, TooMany, Unavailable
from landline.engines.smpp.encoding import number_of
from landline.engines.smpp.listener.gateway import Account, CustomerSubmission, Gateway
from landline.engines.smpp.pump import Pump
from landline.engines.smpp.records import Records, Whole
from landline.ports.clock import Clock
from landline.protocols.smpp import pdu, status, texts
from landline.protocols.smpp.commands import Command
from landline.protocols.smpp.events import (
    Answered,
    BindArrived,
    Event,
    MessageArrived,
    RequestArrived,
    Unanswered,
)
from landline.protocols.smpp.joiner import GroupKey, TextPart, part_of
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Limits, Session
from landline.protocols.smpp.states import Role

log = structlog.get_logger()

_BIND_TRIES = 3
_CANCEL_FAILED, _REPLACE_FAILED = 0x11, 0x13  # ESME_RCANCELFAIL, ESME_RREPLACEFAIL: nothing waits here to be changed
_DEFAULT_SUBMISSION_TYPES = 0x03  # §5.2.17: bits 1-0 of registered_delivery ask for a receipt


@dataclass(slots=True, eq=False)
class Handed:
    """A deliver_sm on its way to the customer: the context of the request."""

    body: bytes
    acknowledged: "asyncio.Future[int | None]"
    """The status of the customer's answer; None when none came."""


class Owner(Protocol):
    """What a connection needs of its listener."""

    gateway: Gateway
    clock: Clock
    limits: Limits
    system_id: str

    def admit(self, connection: "Connection", account: Account) -> int:
        """The command_status of a bind whose password was right."""
        ...

    def over_rate(self, account: Account, now: float) -> bool: ...

    def message_id(self, account: Account, key: GroupKey | None) -> UUID: ...

    def finished(self, account: Account, key: GroupKey) -> None: ...

    def records(self, account: Account) -> Records: ...

    def changed(self, connection: "Connection") -> None: ...

    def gone(self, connection: "Connection") -> None: ...


@dataclass(slots=True, eq=False)
class _Taken:
    """One submission that is not answered yet."""

    sequence: int
    message_id: str
    submission: CustomerSubmission | None = None
    part: TextPart | None = None
    report_wanted: bool = False
    status: int = status.ESME_ROK


class Connection:
    """See the module. `run` is its worker."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.session = Session(Role.SMSC, self._now(), owner.limits)
        self.pump = Pump(self.session, self._now, self._happened, self._lost)
        self.account: Account | None = None
        self._address = ""
        self._failed_binds = 0
        self._events: list[Event] = []
        self._wakeup = asyncio.Event()
        self._gone = False

    async def run(self) -> None:
        """Until the connection is gone."""
        while not self._gone:
            await self._wakeup.wait()
            self._wakeup.clear()
            with self._owner.clock.busy():
                events, self._events = self._events, []
                await self._act(events)
                self.pump.flush()
                self._owner.changed(self)

    def hand(self, handed: Handed) -> None:
        """Send a deliver_sm; the caller has seen that the window is free."""
        self.session.deliver(handed.body, handed, self._now())
        self.pump.flush_soon()

    @property
    def free(self) -> int:
        """How many deliver_sm may be handed over now."""
        return self.session.free if self.session.can_deliver and self.pump.writable else 0

    def _happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Answered):
                _settle(event.context, event.status)
            elif isinstance(event, Unanswered):
                _settle(event.context, None)
            else:
                self._events.append(event)
        self._wakeup.set()

    async def _act(self, events: list[Event]) -> None:
        taken: list[_Taken] = []
        for event in events:
            if isinstance(event, BindArrived):
                await self._bind(event)
            elif self._gone:
                return  # what it asked was not answered and will be asked again
            elif isinstance(event, MessageArrived):
                self._take(event.sequence, event.message, taken)
            elif isinstance(event, RequestArrived) and isinstance(event.body, pdu.DataSm):
                self._take(event.sequence, event.body.as_short_message(), taken)
            elif isinstance(event, RequestArrived):
                await self._request(event)
        if taken and not self._gone and self.account is not None:
            await self._submit(self.account, taken)
        for item in taken:
            if not self.session.ended:
                self.session.answer(item.sequence, item.status, item.message_id)

    async def _bind(self, event: BindArrived) -> None:
        address = self.pump.peer
        try:
            account = await self._owner.gateway.authenticate(event.bind.system_id, event.bind.password, address)
        except Unavailable:
            self._refuse_bind(status.ESME_RSYSERR, event.bind.system_id)
            return
        if self.session.ended:
            return
        result = status.ESME_RINVPASWD if account is None else self._owner.admit(self, account)
        if account is None or result != status.ESME_ROK:
            self._refuse_bind(result, event.bind.system_id)
            return
        self.account = account
        window = min(account.window, self.session.limits.peer_window)
        self.session.limits = replace(self.session.limits, peer_window=window)
        self.session.accept_bind(self._owner.system_id)
        self.pump.flush()
        log.info("smpp.customer_bound", system_id=account.system_id, kind=event.kind.name.lower(), address=address)
        if self.session.can_deliver:
            self._owner.gateway.receiving(account)

    def _refuse_bind(self, state: int, system_id: str) -> None:
        if self.session.ended:
            return
        self._failed_binds += 1
        log.warning("smpp.customer_refused", system_id=system_id, status=status.meaning(state).name)
        self.session.refuse_bind(state)
        self.pump.flush()
        if self._failed_binds >= _BIND_TRIES:
            self.pump.close()

    def _take(self, sequence: int, message: ShortMessage, taken: list[_Taken]) -> None:
        account = self.account
        assert account is not None, "the session lets no one submit unbound"
        sender = number_of(message.source_addr_ton, message.source_addr)
        recipient = number_of(message.dest_addr_ton, message.destination_addr)
        state = status.ESME_ROK
        if self._owner.over_rate(account, self._now()):
            state = status.ESME_RTHROTTLED
        elif phone.sender_kind(sender) is None:
            state = status.ESME_RINVSRCADR
        elif phone.parse(recipient) is None:
            state = status.ESME_RINVDSTADR
        if state != status.ESME_ROK:
            taken.append(_Taken(sequence, "", status=state))
            return
        taken.append(self._read(account, sequence, message, sender, recipient))

    def _read(self, account: Account, sequence: int, message: ShortMessage, sender: str, recipient: str) -> _Taken:
        piece = texts.read(message)
        wanted = bool(message.registered_delivery & _DEFAULT_SUBMISSION_TYPES)
        if piece.concatenation is None:
            message_id = self._owner.message_id(account, None)
            text = texts.decode(piece.data_coding, piece.octets).replace("\0", "")
            submission = CustomerSubmission(message_id, sender, recipient, text, wanted, 1)
            return _Taken(sequence, message_id.hex, submission, report_wanted=wanted)
        part = part_of(sender, recipient, piece.concatenation, piece.data_coding, piece.octets)
        message_id = self._owner.message_id(account, part.key)
        return _Taken(sequence, part_id(message_id, part.sequence), part=part, report_wanted=wanted)

    async def _submit(self, account: Account, taken: list[_Taken]) -> None:
        """Have `taken` made durable; what is not gets the status of the reason."""
        valid = [item for item in taken if item.status == status.ESME_ROK]
        if not valid:
            return
        try:
            await self._submit_valid(account, valid)
        except (Unavailable, Refusal) as error:
            state = status.ESME_RTHROTTLED if isinstance(error, TooMany) else status.ESME_RSUBMITFAIL
            state = status.ESME_RSYSERR if isinstance(error, Unavailable) else state
            log.warning("smpp.customer_put_off", system_id=account.system_id, count=len(valid), reason=error.message)
            for item in valid:
                item.status = state
        except Exception:
            log.exception("smpp.customer_failed", system_id=account.system_id, count=len(valid))
            for item in valid:
                item.status = status.ESME_RSYSERR

    async def _submit_valid(self, account: Account, items: list[_Taken]) -> None:
        records = self._owner.records(account)
        whole = [(item.submission, [item]) for item in items if item.submission is not None]
        finished: dict[GroupKey, UUID] = {}
        parted = [(item, item.part) for item in items if item.part is not None]
        kept = await records.keep_parts([part for _, part in parted], self._owner.clock.now()) if parted else []
        for text in kept:
            key = text.joined.key
            of_it = [item for item, part in parted if part.key == key]
            whole.append((self._joined(account, text, any(item.report_wanted for item in of_it)), of_it))
            finished[key] = whole[-1][0].message_id
        if not whole:
            return
        results = await self._owner.gateway.submit(account, [submission for submission, _ in whole])
        accepted = {submission.message_id for (submission, _), state in zip(whole, results, strict=True) if not state}
        for (_, of_it), state in zip(whole, results, strict=True):
            for item in of_it:
                item.status = state
        done = [key for key, message_id in finished.items() if message_id in accepted]
        await records.finish(done)
        for key in done:
            self._owner.finished(account, key)

    def _joined(self, account: Account, whole: Whole, wanted: bool) -> CustomerSubmission:
        key = whole.joined.key
        text = whole.joined.text.replace("\0", "")
        message_id = self._owner.message_id(account, key)
        return CustomerSubmission(message_id, key.sender, key.recipient, text, wanted, whole.joined.parts)

    async def _request(self, event: RequestArrived) -> None:
        if event.command == Command.QUERY_SM and isinstance(event.body, pdu.QuerySm):
            await self._query(event.sequence, event.body)
        elif event.command == Command.CANCEL_SM:
            self.session.answer(event.sequence, _CANCEL_FAILED)
        elif event.command == Command.REPLACE_SM:
            self.session.answer(event.sequence, _REPLACE_FAILED)
        else:
            self.session.answer(event.sequence, status.ESME_RINVCMDID)

    async def _query(self, sequence: int, query: pdu.QuerySm) -> None:
        assert self.account is not None, "the session lets no one ask unbound"
        state = None
        try:
            message_id = UUID(query.message_id.partition("-")[0])
            state = await self._owner.gateway.state(self.account, message_id)
        except (ValueError, Unavailable):
            state = None
        if self.session.ended:
            return
        if state is None:
            self.session.answer(sequence, status.ESME_RQUERYFAIL)
        else:
            self.session.answer(sequence, body=pdu.QueryAnswer(query.message_id, "", state))

    def _lost(self) -> None:
        for unanswered in self.session.close():
            _settle(unanswered.context, None)
        self._gone = True
        self._wakeup.set()
        self._owner.gone(self)

    def _now(self) -> float:
        return self._owner.clock.now().timestamp()


def part_id(message_id: UUID, part: int) -> str:
    """The id that one part of a long text is told."""
    return f"{message_id.hex}-{part}"


def _settle(context: object, state: int | None) -> None:
    if isinstance(context, Handed) and not context.acknowledged.done():
        context.acknowledged.set_result(state)
