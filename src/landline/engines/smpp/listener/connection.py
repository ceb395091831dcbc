"""One customer's connection: its bind is checked, its submissions are taken in batches and answered once durable."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from landline.core.errors import Refusal, Unavailable
from landline.engines.smpp.listener import intake
from landline.engines.smpp.listener.answered import AnsweredTexts
from landline.engines.smpp.listener.intake import Desk, Taken
from landline.engines.smpp.pump import Pump
from landline.ports.esme_gateway import Account
from landline.protocols.smpp import pdu, status, texts, times
from landline.protocols.smpp.commands import Command, command_name
from landline.protocols.smpp.events import (
    Answered,
    BindArrived,
    Event,
    MessageArrived,
    PduRefused,
    PeerLost,
    RequestArrived,
    Unanswered,
    Unbound,
)
from landline.protocols.smpp.joiner import TextPart
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

log = structlog.get_logger()

_BIND_TRIES = 3
_WINDOW_AT_FIRST = 10
"""deliver_sm unanswered; more and more for who answers quickly."""
_IN_HAND_BYTES = 1 << 20
"""What one connection says is read no further while so much of it waits to be acted on: each PDU of a window may have
64 KiB, and the database may be slow."""
_AGAIN = frozenset({status.ESME_RTHROTTLED, status.ESME_RSYSERR})
"""What the session refuses for now."""
_CANCEL_FAILED, _REPLACE_FAILED = 0x11, 0x13  # ESME_RCANCELFAIL, ESME_RREPLACEFAIL


@dataclass(slots=True, eq=False)
class Handed:
    """A deliver_sm on its way to the customer: the context of the request."""

    body: bytes
    until: datetime
    """After this it is not handed over any more."""
    acknowledged: "asyncio.Future[int | None]"
    """The status of the customer's answer; None when none came."""
    text: UUID | None = None
    """Which long text this is a part of, if of any."""
    at: float = 0.0
    """When it was handed over last."""
    ended: bool = False
    """Whether the customer broke its connection when this was the first that it had not answered."""


class Owner(Desk, Protocol):
    """What a connection needs of its listener."""

    limits: Limits
    system_id: str
    answered_texts: AnsweredTexts

    async def admit(self, connection: "Connection", account: Account) -> int:
        """The command_status of a bind whose password was right. Raises `Unavailable`."""
        ...

    def changed(self, connection: "Connection") -> None: ...

    def gone(self, connection: "Connection") -> None: ...


class Connection:
    """See the module. `run` is its worker."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.session = Session(Role.SMSC, self._now(), owner.limits)
        self.pump = Pump(self.session, self._now, self._happened, self._broken, unread_bytes=0)
        self.account: Account | None = None
        self.stalled = False
        """Whether it left a deliver_sm unanswered and has answered none since."""
        self.unbound = False
        """Whether the customer has ended it by an unbind."""
        self._window = _WINDOW_AT_FIRST
        self._failed_binds = 0
        self._events: list[Event] = []
        self._came_at = 0.0
        """When the first of these came."""
        self._said_bytes = self._waiting_bytes = 0
        """What it has said, and so much of that, about, is not acted on."""
        self._wakeup = asyncio.Event()
        self._gone = False
        self._authenticating: asyncio.Task[Account | None] | None = None

    async def run(self) -> None:
        """Until the connection is gone."""
        try:
            while not self._gone:
                await self._wakeup.wait()
                self._wakeup.clear()
                with self._owner.clock.busy():
                    events, self._events = self._events, []
                    acted_bytes = self._waiting_bytes
                    await self._act(events, self._came_at)
                    self._waiting_bytes -= acted_bytes
                    self.pump.hold(False)
                    self.pump.flush()
                    self._owner.changed(self)
                if self.session.ended:
                    self._lost()  # TLS may take its time to end, and whoever has unbound may bind again
        except Exception:
            log.exception("smpp.connection_failed", system_id=self.account.system_id if self.account else "")
            self.end()  # whom nobody serves any more is to connect again

    def hand(self, handed: Handed) -> None:
        """Send a deliver_sm; the caller has seen that the window is free."""
        handed.at = self._now()
        self.session.deliver(handed.body, handed, self._now())
        self.pump.flush_soon()

    def expire(self) -> None:
        """Let the session act on the time. What it ends is gone at once, also if it never got as far as TCP or TLS."""
        self.pump.expire()
        if self.session.ended:
            self.end()

    def end(self) -> None:
        """Cut the connection: nothing more is read from it or written to it."""
        self.pump.abort()
        self._lost()

    def renew(self, account: Account) -> None:
        """The account's limits are these from now on."""
        self.account = account
        window = min(account.window, self._owner.limits.peer_window)
        self.session.limits = replace(self.session.limits, peer_window=window)

    @property
    def free(self) -> int:
        """How many deliver_sm may be handed over now."""
        if not self.session.can_deliver or not self.pump.writable:
            return 0
        return max(min(self.session.free, self._window - self.session.in_flight), 0)

    def _happened(self, events: list[Event]) -> None:
        try:
            self._hear(events)
        except Exception:
            log.exception("smpp.connection_failed", system_id=self.account.system_id if self.account else "")
            for event in events:  # the session tells of each once, and what is not settled would be waited for for ever
                if isinstance(event, Answered | Unanswered):
                    settle(event.context, None)
            self.end()

    def _hear(self, events: list[Event]) -> None:
        waiting = len(self._events)
        if not waiting:
            self._came_at = self._now()
        for event in events:
            if isinstance(event, Answered):
                self.stalled = False
                if isinstance(event.context, Handed):
                    self._learn(self._now() - event.context.at)
                settle(event.context, event.status)
            elif isinstance(event, Unanswered):
                self.stalled = True
                self._window = max(self._window // 2, 1)
                settle(event.context, None)
            elif isinstance(event, Unbound):
                self.unbound = event.by_peer
            elif isinstance(event, PeerLost):
                system_id, peer = self.account.system_id if self.account is not None else "", self.pump.peer
                self._warn("smpp.peer_lost", system_id or peer, system_id=system_id, peer=peer, reason=event.reason)
            elif isinstance(event, PduRefused):
                self._tell_of_refused(event)
            else:
                self._events.append(event)
        said_bytes, self._said_bytes = self.pump.octets - self._said_bytes, self.pump.octets
        if len(self._events) > waiting:
            self._waiting_bytes += said_bytes
            self.pump.hold(self._waiting_bytes > _IN_HAND_BYTES)
        self._wakeup.set()

    def _tell_of_refused(self, refused: PduRefused) -> None:
        """The session has answered it. Of what is to come again nothing is told."""
        if refused.status in _AGAIN:
            return
        system_id, peer = self.account.system_id if self.account is not None else "", self.pump.peer
        command, reason = command_name(refused.command), status.meaning(refused.status).name
        self._warn(
            "smpp.pdu_refused",
            (system_id or peer, reason),
            system_id=system_id,
            peer=peer,
            command=command,
            reason=reason,
        )

    def _learn(self, took_s: float) -> None:
        """A customer that works on one delivery after the other answers the last of a large window too late, and would
        be brought it again, and again too late: it gets what it answers within half of its time."""
        limits = self._owner.limits
        if took_s < limits.response_s / 4:
            self._window = min(self._window + 1, limits.window)
        elif took_s > limits.response_s / 2:
            self._window = max(self._window - 1, 1)

    async def _act(self, events: list[Event], came_at: float) -> None:
        taken: list[Taken] = []
        for event in events:
            if self._gone:
                return  # what it asked was not answered and will be asked again
            if isinstance(event, BindArrived):
                await self._bind(event)
            elif isinstance(event, MessageArrived):
                taken.append(self._take(event.sequence, event.message, came_at))
            elif isinstance(event, RequestArrived) and isinstance(event.body, pdu.DataSm):
                taken.append(self._take(event.sequence, event.body.as_short_message(), came_at))
            elif isinstance(event, RequestArrived):
                await self._submit(taken, came_at)  # it may ask about what was submitted just before
                taken = []
                await self._request(event)
        await self._submit(taken, came_at)

    async def _submit(self, taken: list[Taken], came_at: float) -> None:
        begun: list[UUID] = []
        try:
            if taken and not self._gone and self.account is not None:
                await intake.submit(self._owner, self.account, taken, begun)
            for item in taken:
                if not self.session.ended:
                    self.session.answer(item.sequence, item.status, item.message_id)
                    if item.part is not None and item.status == status.ESME_ROK:
                        self._note(item.part, item.message_id, came_at)
        finally:
            self._owner.answered(begun)

    def _take(self, sequence: int, message: pdu.ShortMessage, came_at: float) -> Taken:
        assert self.account is not None, "the session lets no one submit unbound"
        if texts.is_double(message):
            return Taken(sequence, status=status.ESME_ROPTPARNOTALLWD)
        taken = intake.take(self._owner, self.account, sequence, message)
        if taken.part is not None:
            taken.anew = self._owner.answered_texts.is_known((self.account.system_id, taken.part.key), came_at)
        return taken

    def _note(self, part: TextPart, message_id: str, came_at: float) -> None:
        assert self.account is not None
        message = message_id.partition("-")[0]
        place = (self.account.system_id, part.key)
        self._owner.answered_texts.note(place, part.sequence, message, self, came_at, self._now())

    async def _bind(self, event: BindArrived) -> None:
        address = self.pump.peer
        try:
            account = await self._authenticated(event.bind.system_id, event.bind.password, address)
            if self.session.ended:
                return
            result = status.ESME_RINVPASWD if account is None else await self._owner.admit(self, account)
        except (Refusal, Unavailable) as error:
            self._warn("smpp.cannot_authenticate", "", reason=error.message)
            self._refuse_bind(status.ESME_RSYSERR)
            return
        if self.session.ended:
            return
        if account is None:
            self._refuse_bind(result)  # the log has why
            return
        if result != status.ESME_ROK:
            said = status.meaning(result).name
            self._warn("smpp.customer_refused", (account.system_id, said), system_id=account.system_id, status=said)
            self._refuse_bind(result)
            return
        self.renew(account)
        self.session.accept_bind(self._owner.system_id)
        self.pump.flush()
        kind, version = event.kind.name.lower(), f"0x{event.bind.interface_version:02x}"
        self._tell(
            log.info,
            "smpp.customer_bound",
            (account.system_id, kind, address),
            system_id=account.system_id,
            kind=kind,
            address=address,
            version=version,
        )
        self._owner.gateway.bound(account)

    async def _authenticated(self, system_id: str, password: str, address: str) -> Account | None:
        """None also when the connection is lost meanwhile, which is not to be waited for by others, nor kept."""
        task = asyncio.create_task(self._owner.gateway.authenticate(system_id, password, address))
        self._authenticating = task
        try:
            return await task
        except asyncio.CancelledError:
            if not self._gone:
                raise
            return None
        finally:
            self._authenticating = None

    def _warn(self, event: str, whose: Hashable, **said: str) -> None:
        self._tell(log.warning, event, whose, **said)

    def _tell(self, write: Callable[..., None], event: str, whose: Hashable, **said: str) -> None:
        """Write that line of the log, unless there was one of `whose` lately: anybody can bind, or say what is no SMPP,
        as often as they like."""
        count = self._owner.told.due((event, whose), self._now())
        if count:
            write(event, **said, count=count)

    def _refuse_bind(self, state: int) -> None:
        if self.session.ended:
            return
        self._failed_binds += 1
        self.session.refuse_bind(state)
        self.pump.flush()
        if self._failed_binds >= _BIND_TRIES:
            self.pump.close()

    async def _request(self, event: RequestArrived) -> None:
        if event.command == Command.QUERY_SM and isinstance(event.body, pdu.QuerySm):
            await self._query(event.sequence, event.body)
        elif event.command == Command.CANCEL_SM and isinstance(event.body, pdu.CancelSm):
            await self._cancel(event.sequence, event.body)
        elif event.command == Command.REPLACE_SM:
            self.session.answer(event.sequence, _REPLACE_FAILED)
        else:
            self.session.answer(event.sequence, status.ESME_RINVCMDID)

    async def _query(self, sequence: int, query: pdu.QuerySm) -> None:
        assert self.account is not None, "the session lets no one ask unbound"
        message_id = intake.message_of(query.message_id)
        try:
            found = await self._owner.gateway.status(self.account, message_id) if message_id else None
        except Unavailable:
            found = None
        if self.session.ended:
            return
        if found is None:
            self.session.answer(sequence, status.ESME_RQUERYFAIL)
        else:
            done = times.write(found.done_at) if found.done_at is not None else ""
            self.session.answer(sequence, body=pdu.QueryAnswer(query.message_id, done, found.state))

    async def _cancel(self, sequence: int, cancel: pdu.CancelSm) -> None:
        assert self.account is not None, "the session lets no one ask unbound"
        named = intake.named_by(cancel)
        try:
            canceled = await self._owner.gateway.cancel(self.account, named) if named is not None else 0
            result = status.ESME_ROK if canceled else _CANCEL_FAILED
        except Unavailable as error:
            intake.tell_put_off(self._owner, self.account, 1, error)
            result = status.ESME_RSYSERR
        if not self.session.ended:
            self.session.answer(sequence, result)

    def _broken(self) -> None:
        """The connection is gone; by the customer's doing where it was bound, which neither had asked to end."""
        self._lost(broken=self.session.can_deliver)

    def _lost(self, *, broken: bool = False) -> None:
        if self._gone:
            return
        self._gone = True
        left = [unanswered.context for unanswered in self.session.close()]
        if broken and left and isinstance(left[0], Handed):
            left[0].ended = True
        for context in left:
            settle(context, None)
        if self._authenticating is not None:
            self._authenticating.cancel()
        self._wakeup.set()
        self._owner.gone(self)

    def _now(self) -> float:
        return self._owner.line.now().timestamp()


def settle(context: object, state: int | None) -> None:
    """The customer answered what was handed over with `state`, or not at all (None)."""
    if isinstance(context, Handed) and not context.acknowledged.done():
        context.acknowledged.set_result(state)
