"""Brings receipts and texts to the customers bound to this process, and cuts those who may not be bound any more.

What waits stands in `sms_esme_out`: claimed under a lease, deleted once the customer has acknowledged it, brought again
otherwise, given up after its validity. Any number of processes work on it; each serves the accounts bound to it.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.ports.esme_gateway import Account, Customers, Delivered, ReportOut, TextOut
from landline.services.sms import accounts
from landline.services.sms import records_esme_out as records
from landline.services.sms.accounts import Accounts
from landline.services.sms.esme import Esme
from landline.services.sms.esme_out import WAITING, EsmeOut
from landline.services.sms.esme_sweep import EsmeSweep
from landline.services.sms.model import esme as model
from landline.store.changes import Changes
from landline.store.database import Database, Record
from landline.store.floor import Floor

log = structlog.get_logger()

_IN_HAND = 1000
"""At most so many of one account in this process's hands; more are claimed when half of them are done."""
_TO_TRY = 50
"""No more than that, or than it took of the last, for a customer who left some: what is claimed here for whoever does
not answer is kept from where it may be bound as well, and put off again and again for whoever is slow."""
_PORTION = 300_000
"""Characters of texts that are brought at once, 2,000 parts and more: an SMSC may bring 64 KiB in one."""
_PATIENCE = timedelta(seconds=30)
"""How long what is in hand waits for a customer that does not read."""
_LEASE = timedelta(seconds=60)
"""Longer than patience and the answer to the last that was handed over."""
_RETRY = timedelta(seconds=1)
_LOOK = timedelta(minutes=5)
"""How often to look for what no news told of."""


@dataclass(slots=True)
class _Lane:
    """What this process does for one account."""

    account: Account
    """As it is bound."""
    next_at: datetime | None
    """When to look for more; None until woken."""
    paused_until: datetime
    oldest: Floor[UUID]
    """The first that waits."""
    in_hand: int = 0
    most: int = _IN_HAND
    """At most so many in hand."""
    failures: int = 0

    @property
    def resource(self) -> ResourceId:
        return self.account.resource

    @property
    def system_id(self) -> str:
        return self.account.system_id


@dataclass(frozen=True, slots=True)
class _Done:
    """A batch that was brought."""

    lane: _Lane
    rows: Sequence[Record]
    outcomes: Sequence[Delivered]


class EsmeWorker:
    """One process's worker. `validity` is how long a receipt or text is kept for a customer who is away, `kept` how
    many of one account; the oldest go first."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        changes: Changes,
        accounts_: Accounts,
        esme: Esme,
        out: EsmeOut,
        customers: Customers,
        owner: UUID,
        *,
        validity: timedelta = timedelta(hours=72),
        kept: int = 100_000,
    ) -> None:
        self._database = database
        self._clock = clock
        self._changes = changes
        self._accounts = accounts_
        self._customers = customers
        self._owner = owner
        self._sweep = EsmeSweep(database, clock, validity=validity, kept=kept)
        self._alarm = clock.alarm()
        self._looked_at = clock.now()
        self._lanes: dict[str, _Lane] = {}
        self._woken: set[str] = set()
        self._changed: set[str] = set()
        self._left: set[str] = set()
        """System ids for which something was written that the processes which they are bound to are to be told of."""
        self._done: list[_Done] = []
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        esme.on_bound = self._bound
        out.on_waiting = self._written
        out.receives = self._takers
        changes.watch(accounts.SUBJECT, self._account_changed)
        changes.watch(WAITING, self._heard)

    async def inherit(self) -> None:
        """Every other process is dead: take over at once what they had in hand."""
        async with self._database.connection() as connection:
            await records.inherit(connection, self._owner, self._clock.now())

    async def succeed(self, dead: Collection[UUID]) -> None:
        """These processes are known to be dead: what they had in hand is for others at once."""
        async with self._database.transaction() as connection:
            for system_id in await records.release(connection, dead, self._clock.now()):
                await self._changes.publish(connection, WAITING, system_id)

    async def finish(self) -> None:
        """Wait until it is written what came of all that was in hand. Nobody may be bound here any more; `run` goes on
        meanwhile."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep.run())
                while True:
                    await self._alarm.wait(await self._turn(group))
        finally:
            self.close()

    def close(self) -> None:
        """The worker has ended, or will never run."""
        self._alarm.close()

    def _bound(self, system_id: str) -> None:
        # The account may have changed between the check of its password and its bind, whatever it is bound as.
        self._changed.add(system_id)
        lane = self._lanes.get(system_id)
        if lane is not None:  # it took nothing by the binds that it had
            lane.failures, lane.paused_until = 0, self._clock.now()
        self._wake(system_id)
        self._alarm.ring()

    def _takers(self, system_id: str) -> int:
        """How many are bound here to receive; none while they do not take what they are brought: others may be bound
        to other processes."""
        lane = self._lanes.get(system_id)
        return 0 if lane is not None and lane.failures else self._customers.receivers(system_id)

    def _wake(self, system_id: str) -> None:
        if self._customers.receivers(system_id):
            self._woken.add(system_id)
            self._alarm.ring()

    def _written(self, system_id: str) -> None:
        """It was bound here when that began to be committed of which no other process was told."""
        if not self._customers.receivers(system_id):
            self._left.add(system_id)
            self._alarm.ring()
        self._wake(system_id)

    def _heard(self, system_id: str | None) -> None:
        for each in (
            [system_id] if system_id is not None else [account.system_id for account in self._customers.bound()]
        ):
            self._wake(each)

    def _account_changed(self, system_id: str | None) -> None:
        bound = {account.system_id for account in self._customers.bound()}
        changed = bound if system_id is None else bound & {system_id}
        if changed:
            self._changed |= changed
            self._alarm.ring()

    async def _turn(self, group: asyncio.TaskGroup) -> datetime:
        """Do what is due; when something will be."""
        self._notice_set_back()
        try:
            await self._check_accounts()
            await self._settle()
            await self._tell_others()
            return await self._claim(group)
        except Unavailable as error:
            log.warning("sms.esme_worker_put_off", reason=error.message)
            return self._clock.now() + _RETRY

    def _notice_set_back(self) -> None:
        """Where the clock was set back, no lane waits for an instant that it had been told by the clock before."""
        now = self._clock.now()
        if now < self._looked_at:
            for lane in self._lanes.values():
                lane.next_at = lane.paused_until = now
        self._looked_at = now

    async def _check_accounts(self) -> None:
        """Cut who may not be bound any more, and tell the others' new limits."""
        while self._changed:
            system_id = min(self._changed)
            self._changed.discard(system_id)  # before it is looked up: it may change again meanwhile
            try:
                found = await self._accounts.find(system_id)
            except Unavailable:
                self._changed.add(system_id)
                raise
            account = next((each for each in self._customers.bound() if each.system_id == system_id), None)
            if account is None:
                continue
            if found is None or not found.enabled or found.right.generation != account.generation:
                self._customers.cut(system_id)
            elif found.right != account:
                self._customers.renew(found.right)

    async def _settle(self) -> None:
        """Write what came of what was brought. What cannot be written now is written next time."""
        while self._done:
            done = self._done[0]
            await self._write(done)
            self._done.pop(0)
            done.lane.in_hand -= len(done.rows)
            self._in_hand -= len(done.rows)
            if not self._in_hand:
                self._idle.set()
            self._woken.add(done.lane.system_id)

    async def _write(self, done: _Done) -> None:
        lane, now = done.lane, self._clock.now()
        by_outcome: dict[Delivered, list[Record]] = {outcome: [] for outcome in Delivered}
        for row, outcome in zip(done.rows, done.outcomes, strict=True):
            by_outcome[outcome].append(row)
        taken = [row["out_id"] for row in by_outcome[Delivered.TAKEN]]
        gone = [(row["out_id"], now, row["attempts"]) for row in by_outcome[Delivered.GONE]]
        refused, ended = by_outcome[Delivered.LATER], by_outcome[Delivered.ENDED]
        later = [
            (row["out_id"], now + model.put_off(row["attempts"]), row["attempts"] + 1) for row in (*refused, *ended)
        ]
        async with self._database.transaction() as connection:
            if taken:
                await records.delivered(connection, lane.resource, lane.system_id, self._owner, taken)
            if gone or later:
                put_off = [*gone, *later]
                await records.put_off(connection, lane.resource, lane.system_id, self._owner, put_off)
            if gone or later:  # it may be bound to another process, too
                await self._changes.publish(connection, WAITING, lane.system_id)
        if later and not taken:
            log.warning("sms.esme_put_off", system_id=lane.system_id, count=len(later))
        lane.most = max(len(taken), _TO_TRY) if refused else min(2 * lane.most, _IN_HAND)
        if taken:
            lane.failures = 0
        elif _tells_of_others(refused):
            # A little longer than what was put off: it is first for others, to whom the account may be bound as well.
            lane.paused_until = now + model.put_off(lane.failures) + _RETRY
            lane.failures += 1
        elif refused:
            lane.failures = max(lane.failures, 1)

    async def _tell_others(self) -> None:
        left = frozenset(self._left)
        if left:
            async with self._database.transaction() as connection:
                for system_id in sorted(left):
                    await self._changes.publish(connection, WAITING, system_id)
            self._left -= left

    async def _claim(self, group: asyncio.TaskGroup) -> datetime:
        now = self._clock.now()
        woken, self._woken = self._woken, set()
        receiving = {account.system_id: account for account in self._customers.bound()}
        receiving = {key: account for key, account in receiving.items() if self._customers.receivers(key)}
        self._lanes = {key: self._lane(account, now) for key, account in receiving.items()}
        until = now + _LOOK
        try:
            for key, lane in self._lanes.items():
                if key in woken or (lane.next_at is not None and lane.next_at <= now):
                    lane.next_at = now  # until it is seen to
                    await self._claim_for(group, lane, now)
                if lane.next_at is not None:
                    until = min(until, max(lane.next_at, lane.paused_until))
        except Unavailable:
            self._woken |= woken
            raise
        return until

    def _lane(self, account: Account, now: datetime) -> _Lane:
        lane = self._lanes.get(account.system_id)
        if lane is None or lane.account.number != account.number:  # made anew, perhaps for another resource
            return _Lane(account, None, now, Floor(partial(self._oldest, account)))
        lane.account = account
        return lane

    async def _oldest(self, account: Account, upto: datetime) -> UUID:
        async with self._database.connection() as connection:
            before = time_ordered(upto, bytes(10))
            return await records.oldest(connection, account.resource, account.system_id, before)

    async def _claim_for(self, group: asyncio.TaskGroup, lane: _Lane, now: datetime) -> None:
        room = lane.most - lane.in_hand
        if lane.paused_until > now:
            return
        if room < lane.most // 2:
            lane.next_at = None  # what is in hand wakes it
            return
        oldest, until = await lane.oldest.at(now), now + _LEASE
        async with self._database.connection() as connection:
            rows = await records.claim(connection, lane.resource, lane.system_id, self._owner, now, until, room, oldest)
            if rows:
                lane.in_hand += len(rows)
                self._in_hand += len(rows)
                self._idle.clear()
                group.create_task(self._bring(lane, rows))
            if len(rows) < room:
                due = await records.next_due(connection, lane.resource, lane.system_id, oldest)
                # What is due and was left out is locked by others, who may be slow. They are first, too, while nothing
                # is taken here.
                behind = _RETRY if lane.failures else timedelta(0)
                lane.next_at = max(min(due + behind, now + _LOOK), now + _RETRY) if due is not None else now + _LOOK

    async def _bring(self, lane: _Lane, rows: Sequence[Record]) -> None:
        until, outcomes = self._clock.now() + _PATIENCE, list[Delivered]()
        for portion in _portions(rows):
            if outcomes and (outcomes[-1] is Delivered.GONE or self._clock.now() >= until):
                gone = outcomes[-1] is Delivered.GONE
                outcomes += [Delivered.GONE if gone else Delivered.LATER] * len(portion)
            else:
                outcomes += await self._brought(lane, portion, until)
        self._done.append(_Done(lane, rows, outcomes))
        self._alarm.ring()

    async def _brought(self, lane: _Lane, rows: Sequence[Record], until: datetime) -> Sequence[Delivered]:
        """What came of `rows`. One that cannot be brought, which is a bug, is put off by itself: the others, and the
        server, go on."""
        try:
            return await self._customers.deliver(lane.account, [_delivery(row) for row in rows], until)
        except Exception:
            log.exception("sms.esme_bring_failed", system_id=lane.system_id, count=len(rows))
            if len(rows) == 1:
                return [Delivered.LATER]
            return [outcome for row in rows for outcome in await self._brought(lane, [row], until)]


def _tells_of_others(refused: Sequence[Record]) -> bool:
    """Whether a customer that took none of what it was brought, but refused these for now, or did not answer, would
    take nothing else either. What it did not take before says nothing of that: its program may fail at it alone."""
    return len(refused) >= _TO_TRY or any(not row["attempts"] for row in refused)


def _portions(rows: Sequence[Record]) -> list[list[Record]]:
    """`rows` in order, so many at once that their parts are few enough to be made in one turn of the loop."""
    portions, length = list[list[Record]](), _PORTION
    for row in rows:
        length += len(row["body"] or "")
        if length >= _PORTION:
            portions.append([])
            length = len(row["body"] or "")
        portions[-1].append(row)
    return portions


def _delivery(row: Record) -> ReportOut | TextOut:
    if row["submitted_at"] is None:
        return TextOut(row["out_id"], row["sender"], row["recipient"], row["body"])
    return ReportOut(
        message_id=row["message_id"],
        sender=row["sender"],
        recipient=row["recipient"],
        state=model.receipt_state(row["delivered"], row["code"], row["canceled"]),
        submitted_at=row["submitted_at"],
        done_at=row["done_at"],
        parts=tuple(row["parts"] or ()),
        error=model.receipt_error(row["delivered"], row["code"]),
    )
