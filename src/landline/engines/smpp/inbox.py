"""What a carrier's deliver_sm bring: receipts and texts, gathered per wake-up, passed on, then acknowledged.

Texts are passed on in the order in which they came. Receipts need none, and the SMSC keeps back further ones until
these are acknowledged: they are passed on in lanes, so that one gets its next ones ready while another's are committed.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from msgspec.structs import replace

from landline.core.errors import Unavailable
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.early import fold_early
from landline.engines.smpp.pump import Pump
from landline.engines.smpp.reading import Reading
from landline.engines.smpp.recent import STOOD_STILL_S, Item, RecentTexts, apart
from landline.engines.smpp.records import GIVEN_UP_AT_ONCE, Records, Whole
from landline.engines.smpp.reports import instant
from landline.engines.smpp.standstill import Standstill
from landline.ports.sms_carrier import Arrival, CarrierEvents
from landline.protocols.smpp import receipts, status
from landline.protocols.smpp.events import MessageArrived
from landline.protocols.smpp.joiner import GroupKey
from landline.protocols.smpp.session import Session

log = structlog.get_logger()

_EARLY_S = 1.0
"""How long a receipt waits for the response that another process may have got and not stored yet."""
_ASK_S = 0.05
"""How often it is asked meanwhile whether that response is there."""
_IN_VAIN = 20
"""After so many receipts in a row that nobody knew a second later, none waits for that until the next sweep: another
system sends over the same account, and what is behind them in the SMSC's window is not to wait. Such a receipt is kept
by the service until it is known."""
_KNOWN_LIMIT = 100_000
Known = Callable[[str, Sequence[str]], Awaitable[Set[str]]]
"""Which of a carrier's message ids the service has stored the submissions of, whichever process told it."""
_SWEEP_S = 60.0
_TRIES = 3
"""How often the service is asked before the SMSC is told to bring it again."""
LANES = 2
_AT_ONCE = 500
"""deliver_sm that are passed on together: an SMSC may have 10,000 unanswered, and what is made of all at once keeps the
event loop from others."""
_LANE_LEAST = 100
"""A lane leaves others their share of the receipts that are due, from so many on. Fewer wait for those that are being
stored, unless they are twice as many: two small commits cost half as much again as one."""
_AHEAD = 400
"""Messages that may be sent beyond the receipts passed on meanwhile, while receipts wait."""
Sleep = Callable[[float], Awaitable[None]]
"""Waits by the clock, for so many seconds."""


class Inbox:
    """See the module. `untold` has the ids of parts whose messages are still on their way, `awaiting` says since when
    a response to a submit_sm is; `ring_lanes` is called when there is something to `report`, `caught_up` when `behind`
    may have changed; `line` is the connections' clock. `known` tells of submissions that this process did not make or
    has forgotten, `several` whether others submit meanwhile."""

    def __init__(
        self,
        config: SmppConfig,
        records: Records,
        untold: Set[str],
        awaiting: Callable[[], float | None],
        ring_lanes: Callable[[], None],
        caught_up: Callable[[], None],
        line: Callable[[], float],
        several: Callable[[], bool],
        standstill: Standstill,
        known: Known | None = None,
    ) -> None:
        self._config = config
        self._records = records
        self._untold = untold
        self._awaiting = awaiting
        self._ring_lanes = ring_lanes
        self._caught_up = caught_up
        self._sent = 0
        self._passing = 0
        self._storing = 0
        """Receipts that lanes are passing on."""
        self._several = several
        self._elsewhere = known
        self._line = line
        self._free_at = 0.0
        """When `bring` last ended a round, by the clock of the connections."""
        self._begun_at = 0.0
        """When `bring` last had a look at what it then had, by the same clock."""
        self._ask_at = 0.0
        self._in_vain = 0
        self._items: list[Item] = []
        self._early: list[Item] = []
        self._reports: list[Item] = []
        # Ordered, for the oldest to go in no time: a dict looks for its first key from where it once began.
        self._known: OrderedDict[str, bool] = OrderedDict()
        self._texts = RecentTexts(config.name, records, line)
        self._sweep_at = 0.0
        self._reading = Reading(config, standstill)
        self.counters = self._reading.counters

    def add(self, pump: Pump, event: MessageArrived, now: float, line_now: float) -> None:
        """A deliver_sm came; `line_now` is the same instant by the clock of the connections."""
        item = Item(pump, event.sequence, now, came_at=line_now)
        if receipts.is_receipt(event.message) or self._reading.is_unmarked_receipt(event.message):
            self._reading.receipt(item, event.message)
        else:
            self._reading.text(item, event.message)
        if item.receipt is None and item.arrival is None and item.part is None:
            pump.session.answer(item.sequence)  # the pump flushes after the read
            return
        self._items.append(item)

    @property
    def waits(self) -> bool:
        """Whether there is something to `bring`."""
        return bool(self._items)

    def not_taken(self, pump: Pump, sequence: int, error: Exception) -> None:
        """There is a bug in how it was read: the SMSC is to bring it again, to who may have none."""
        log.error("smpp.not_taken", carrier=self._config.name, exc_info=error)
        self.counters.put_off += 1
        pump.session.answer(sequence, status.ESME_RX_T_APPN)

    def submitted(self, ids: Sequence[str], *, several: bool = False) -> None:
        """The service has stored the answers with these ids: their receipts may be passed on. `several`: the ids of one
        long message's parts, whose receipts are folded."""
        known = self._known
        for message_id in ids:
            known[message_id] = several
        while len(known) > _KNOWN_LIMIT:
            known.popitem(last=False)

    def sent(self, count: int) -> None:
        """So many messages more were given to the carrier. What was sent long before the receipts came is forgotten:
        sending is to keep to their pace, and not to wait until all of them are through."""
        self._sent = min(self._sent + count, 2 * _AHEAD)

    @property
    def behind(self) -> bool:
        """Whether sending went ahead while receipts waited, here or in the SMSC's window. Both need the same processor
        and database: without this, a backlog is sent off first, and its receipts wait until then."""
        return self._sent >= _AHEAD and (bool(self._reports) or self._passing == LANES)

    def deadline(self) -> float | None:
        """When `bring` has something to do by itself."""
        settled = self._texts.settles_at()
        early = min((item.waits_until or item.at for item in self._early), default=None)
        if early is None:
            return min(settled, self._sweep_at)
        asks_at = early if self._elsewhere is None else self._ask_at
        return min(early, asks_at, settled, self._sweep_at)

    async def bring(self, carrier: str, events: CarrierEvents, now: float, sleep: Sleep) -> bool:
        """Pass on and acknowledge the texts that have come, and leave the receipts that are due for `report`; whether
        there was anything."""
        try:
            return await self._bring(carrier, events, now, sleep)
        finally:
            self._free_at = self._line()

    async def _bring(self, carrier: str, events: CarrierEvents, now: float, sleep: Sleep) -> bool:
        if not now < self._sweep_at <= now + _SWEEP_S:  # later than that: the clock was set back
            await self._sweep(carrier, events, now)
            self._free_at = self._line()
        await self._refuse_stale(now)
        self._begun_at = self._line()
        items, self._items = self._items[:_AT_ONCE], self._items[_AT_ONCE:]
        reports = await self._due([item for item in items if item.receipt is not None], now)
        found = [item for item in items if item.receipt is None]
        if reports:
            self._reports += reports
            self._ring_lanes()
        there = True
        for some in apart(found):
            if there:
                there = await self._attempt(some, lambda batch: self._arrive(carrier, events, batch, now), sleep)
            else:
                self._put_off(some)
            self._acknowledge(some)
            self._texts.settle_soon(some, now)
        await self._texts.settle(now)
        return bool(reports or found or self._items)

    async def report(self, carrier: str, events: CarrierEvents, sleep: Sleep) -> bool:
        """Pass on receipts that are due and acknowledge them; whether there were any. `LANES` may do so at once, where
        there are enough of them: else who is at it goes on with the rest."""
        if len(self._reports) < min(_LANE_LEAST, 2 * self._storing):
            return False
        share = min(max(_LANE_LEAST, -(-len(self._reports) // LANES)), _AT_ONCE)
        reports, self._reports = self._reports[:share], self._reports[share:]
        if not reports:
            return False
        count = len(reports)
        self._passing += 1
        self._storing += count
        try:
            await self._attempt(reports, lambda batch: self._report(carrier, events, batch), sleep)
        finally:
            self._passing -= 1
            self._storing -= count
            self._sent = max(0, self._sent - count)
        self._acknowledge(reports)
        self._caught_up()
        return True

    def drop(self, session: Session) -> None:
        """The connection is gone: what came by it and was not passed on will be brought again."""
        self._early = [item for item in self._early if item.pump.session is not session]
        self._items = [item for item in self._items if item.pump.session is not session]
        self._reports = [item for item in self._reports if item.pump.session is not session]
        self._caught_up()

    async def _refuse_stale(self, now: float) -> None:
        """Have the SMSC bring again what stood here, or in the connection, while the whole process stood still, unless
        it has done so already: to another process, perhaps. What is known to be a copy may as well be taken: refused,
        it would come again when it may be another text."""
        line_now = self._line()
        if not self._items or not self._several():
            return
        lately = line_now - max(self._items[0].came_at, self._free_at) < STOOD_STILL_S
        stale = [
            item
            for item in self._items
            if item.arrival and (item.stood_s or (not lately and line_now - item.came_at >= STOOD_STILL_S))
        ]
        if not stale:
            return
        known = {item.fingerprint for item in self._items if item not in stale}
        with suppress(Unavailable):
            known |= await self._texts.known(stale, now)
        stale = [item for item in stale if item.fingerprint not in known]
        if not stale:
            return
        self._items = [item for item in self._items if item not in stale]
        self._stood_still(stale)
        self._acknowledge(stale)

    def _stood_still(self, stale: Sequence[Item]) -> None:
        log.warning("smpp.stood_still", carrier=self._config.name, texts=len(stale))
        self._put_off(stale)

    async def _due(self, items: list[Item], now: float) -> list[Item]:
        """Those of `items` and of the early receipts whose submission is stored or that have waited long enough."""
        due: list[Item] = []
        early: list[Item] = []
        items = [*self._early, *items]
        self._early = []
        await self._learn(items, now)
        awaiting = self._awaiting()
        patience_s = _EARLY_S if self._several() and self._in_vain < _IN_VAIN else 0.0
        line_now = self._line()
        for item in items:
            assert item.receipt is not None
            message_id, waited_s = item.receipt.carrier_message_id, line_now - item.came_at
            if item.pump.session.ended:
                continue  # it will be brought again
            if message_id in self._known:
                self._in_vain = self._in_vain if item.waits_until is None else 0
                due.append(item)
            elif message_id in self._untold or (item.other_id and item.other_id in self._untold):
                item.waits_until = now + _EARLY_S
                early.append(item)
            elif awaiting is not None and awaiting <= item.came_at:
                # It may be of a part of a long message: nobody could tell later that it was.
                self.counters.receipts_early += item.waits_until is None
                item.waits_until = now + max(_ASK_S, patience_s - waited_s)
                early.append(item)
            elif waited_s < patience_s:
                self.counters.receipts_early += item.waits_until is None
                item.waits_until = now + patience_s - waited_s
                early.append(item)
            else:
                if item.other_id in self._known:
                    self._reading.meaning.meant_other(item.at, now)
                    item.receipt = replace(item.receipt, carrier_message_id=item.other_id)
                else:
                    self._in_vain += 1
                due.append(item)
        self._early = early
        return due

    async def _learn(self, items: Sequence[Item], now: float) -> None:
        """Learn which receipts are of submissions that other processes have told of."""
        known, untold = self._known, self._untold
        ids = {item.receipt.carrier_message_id: item.other_id for item in items if item.receipt is not None}
        # Not by subtracting sets: that would walk through all that is known, however few are asked about.
        asked = {each for each in ids if each not in known and each not in untold}
        asked |= {other for other in map(ids.__getitem__, asked) if other and other not in known}
        if self._elsewhere is None or not asked:
            self._ask_at = math.inf
            return
        self._ask_at = now + _ASK_S
        try:
            stored = await self._elsewhere(self._config.name, list(asked))
            # After that: a long message's parts are stored before its submission is told.
            parts = await self._records.sent_parts(asked)
        except Unavailable as error:
            log.warning("smpp.receipts_wait", carrier=self._config.name, reason=error.message)
            return
        self.submitted([message_id for message_id in stored if message_id not in parts])
        self.submitted(list(parts), several=True)

    async def _report(self, carrier: str, events: CarrierEvents, items: list[Item]) -> None:
        ours = [item.receipt for item in items if item.receipt is not None]
        single = [receipt for receipt in ours if self._known.get(receipt.carrier_message_id) is False]
        strange: list[str] = []
        if len(single) < len(ours):
            others = [receipt for receipt in ours if self._known.get(receipt.carrier_message_id) is not False]
            single += await self._records.fold(others, instant(items[-1].at))
            strange = [each.carrier_message_id for each in others if each.carrier_message_id not in self._known]
        if single:
            await events.reported(carrier, single)
        if strange:
            # After that: either we see now that they are parts of long messages, or whoever tells of those finds them.
            parts = await self._records.sent_parts(strange)
            if parts:
                await fold_early(carrier, events, self._records, parts, instant(items[-1].at))

    async def _arrive(self, carrier: str, events: CarrierEvents, items: list[Item], now: float) -> None:
        at = datetime.fromtimestamp(now, UTC)
        parts = [item.part for item in items if item.part is not None]
        if parts:
            await self._give_up(carrier, events, await self._records.interrupted(parts), at)
        wholes = await self._records.keep_parts(parts, at) if parts else []
        items = await self._keyed(items, now)
        whole_of = {whole.joined.key: whole for whole in wholes}
        arrivals: list[Arrival] = []
        for item in reversed(items):  # a text stands where its last part came
            whole = whole_of.pop(item.part.key, None) if item.part is not None else None
            if whole is not None:
                arrivals.append(_arrival_of(whole, at))
            elif item.arrival is not None:
                arrivals.append(item.arrival)
        arrivals.reverse()
        if arrivals:
            await events.arrived(carrier, arrivals)
        await self._records.finish([whole.joined.key for whole in wholes])

    async def _keyed(self, items: Sequence[Item], now: float) -> list[Item]:
        """Those of `items` that may be passed on, with keys. A key that others could not see before so much time had
        passed is told to nobody: another process may have had that text meanwhile, and have forgotten it."""
        single = [item for item in items if item.arrival is not None]
        new = [item for item in single if item.recent is None or not item.recent.known]
        repeated = await self._texts.give_keys(single, now)
        self.counters.repeated += repeated
        if not new or not self._several() or self._line() - self._begun_at < STOOD_STILL_S:
            return list(items)
        self._stood_still(new)
        return [item for item in items if item not in new]

    async def _attempt(self, items: list[Item], pass_on: Callable[[list[Item]], Awaitable[None]], sleep: Sleep) -> bool:
        """Pass `items` on; those the service does not take get a status that has the SMSC bring them again. False when
        it was away to the end."""
        for attempt in range(_TRIES):
            # What a connection brought that has ended is brought again, maybe to another process, and passed on there.
            items = [item for item in items if not item.pump.session.ended and item.status == status.ESME_ROK]
            if not items:
                return True
            try:
                await pass_on(items)
            except Unavailable as error:
                log.warning("smpp.put_off", carrier=self._config.name, count=len(items), reason=error.message)
                if attempt + 1 < _TRIES:
                    await sleep(error.retry_after_s)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("smpp.not_passed_on", carrier=self._config.name, count=len(items))
                if len(items) == 1:
                    break
                for item in items:  # one bad item must not keep its neighbours
                    await self._attempt([item], pass_on, sleep)
                return True
            else:
                return True
        else:
            self._put_off(items)
            return False
        self._put_off(items)
        return True

    def _put_off(self, items: Sequence[Item]) -> None:
        self.counters.put_off += len(items)
        for item in items:
            item.status = status.ESME_RX_T_APPN

    def _acknowledge(self, items: list[Item]) -> None:
        pumps: set[Pump] = set()
        for item in items:
            if item.pump.session.ended:
                continue
            item.pump.session.answer(item.sequence, item.status)
            pumps.add(item.pump)
            if item.recent is not None:
                item.recent.answered(item.pump.now(), taken=item.status == status.ESME_ROK)
            elif item.receipt is not None and item.status == status.ESME_ROK:
                self._known.pop(item.receipt.carrier_message_id, None)
        for pump in pumps:
            pump.flush()

    async def _sweep(self, carrier: str, events: CarrierEvents, now: float) -> None:
        """Pass on the texts whose missing parts are waited for no more."""
        patience_s = self._config.join_patience_s
        self._sweep_at = now + min(patience_s, _SWEEP_S)
        self._in_vain = 0
        at = datetime.fromtimestamp(now, UTC)
        try:
            wholes = await self._records.overdue(at, timedelta(seconds=patience_s))
            await self._give_up(carrier, events, wholes, at)
            if len(wholes) >= GIVEN_UP_AT_ONCE:
                self._sweep_at = now  # there may be more, which go on when what came meanwhile is through
        except Unavailable as error:
            log.warning("smpp.sweep_put_off", carrier=carrier, reason=error.message)

    async def _give_up(self, carrier: str, events: CarrierEvents, wholes: Sequence[Whole], at: datetime) -> None:
        """Pass on texts that will not get their missing parts."""
        if wholes:
            self.counters.incomplete += len(wholes)
            await events.arrived(carrier, [_arrival_of(whole, at) for whole in wholes])
            await self._records.finish([whole.joined.key for whole in wholes])


def _arrival_of(whole: Whole, at: datetime) -> Arrival:
    key: GroupKey = whole.joined.key
    text = whole.joined.text.replace("\0", "")
    return Arrival(whole.key, key.sender, key.recipient, text, whole.joined.parts, at)
