"""Texts of phones that were taken in lately: whether what equals one is the same, brought again, or another one."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from msgspec import Struct

from landline.core.errors import Unavailable
from landline.engines.smpp.pump import Pump
from landline.engines.smpp.records import REPEAT, Look, Records
from landline.ports.sms_carrier import Arrival, Receipt
from landline.protocols.smpp import status
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.session import Session

log = structlog.get_logger()

HEARD_S = 1.0
"""What an SMSC says so long after we acknowledged a text shows that it knows that we have it."""
_LATE_S = 4.0
"""An acknowledgement after so long may come after an SMSC's patience: it may have brought the text again meanwhile.
What equals a text and comes sooner, over a connection that lasts, is another one."""

STOOD_STILL_S = 2.0
"""A text that nobody looked at for so long, though nothing else was done, was in a process that stood still (SIGSTOP, a
machine being moved). Its SMSC may have brought it to another one by now, which has settled it: it awaits our answer no
more then, and an error to have it brought again neither doubles nor loses it."""

_LIMIT = 10_000


@dataclass(slots=True)
class Recent:
    """A text taken in lately. Instants of the connection are by its clock."""

    key: str
    session: Session
    at: float
    came_at: float
    """When it came by the connection, at the earliest."""
    acknowledged_at: float | None = None
    put_off: bool = False
    """Whether its SMSC was asked to bring it again."""
    known: bool = False
    """Whether other processes know the key, or it is theirs."""
    other: str = ""
    """The key of an equal text before it, which is another one."""
    settled: bool = False
    """Whether this process told others that its SMSC knows that it was taken in."""

    @property
    def late(self) -> bool:
        """Whether the acknowledgement may have come after its SMSC's patience."""
        return self.acknowledged_at is not None and self.acknowledged_at - self.came_at >= _LATE_S

    @property
    def heard(self) -> bool:
        """Whether its SMSC knows that we have it."""
        return self.acknowledged_at is not None and self.session.heard_at >= self.acknowledged_at + HEARD_S

    def again(self, came_at: float) -> bool:
        """Whether an equal text that came at `came_at` may be this one, brought again."""
        if self.session.ended or self.put_off:
            return not self.heard
        if came_at < self.came_at + _LATE_S:
            return False  # its SMSC still waited for our answer: a phone said the same twice
        if self.acknowledged_at is None:
            return True
        return self.late and came_at < self.acknowledged_at + HEARD_S

    def brought_again(self, session: Session, came_at: float) -> None:
        """It came once more. What equals it and comes now is another one."""
        self.session, self.came_at = session, came_at
        self.acknowledged_at, self.put_off = None, False

    def answered(self, now: float, *, taken: bool) -> None:
        """The SMSC was told that we have it, or that it is to bring it again."""
        if taken:
            self.acknowledged_at = now
        else:
            self.put_off = True


class Item(Struct, eq=False):
    """One deliver_sm that is not answered yet."""

    pump: Pump
    sequence: int
    at: float
    receipt: Receipt | None = None
    other_id: str = ""
    """By which its message may be known if not by the receipt's."""
    arrival: Arrival | None = None
    part: TextPart | None = None
    fingerprint: bytes = b""
    recent: Recent | None = None
    status: int = status.ESME_ROK
    came_at: float = 0.0
    """By the clock of the connections, at the latest."""
    stood_s: float = 0.0
    """How long before that it may have come, where the process stood still."""
    waits_until: float | None = None


class RecentTexts:
    """The texts that a carrier brought to this process lately, and their keys. `line` is the connections' clock."""

    def __init__(self, carrier: str, records: Records, line: Callable[[], float]) -> None:
        self._carrier = carrier
        self._records = records
        self._line = line
        self._recent: OrderedDict[bytes, Recent] = OrderedDict()
        self._settling: list[tuple[float, Pump, Recent]] = []

    async def give_keys(self, items: Sequence[Item], now: float) -> int:
        """Give single texts their keys: a text brought again keeps the one it had. How many were so. May be repeated
        with the same items; raises `Unavailable`."""
        repeated = 0
        looks: dict[int, tuple[Recent, Look]] = {}
        await self._forget_settled(items, now)
        for item in items:
            if item.recent is None:
                item.recent, again = self._recognise(item, now)
                repeated += again
            recent = item.recent
            if not recent.known:  # copies that nobody had looked at are one to others, too
                came_at = datetime.fromtimestamp(item.at - item.stood_s, UTC)
                looks.setdefault(id(recent), (recent, Look(item.fingerprint, recent.key, came_at, recent.other)))
        if looks:
            asked = list(looks.values())
            keys = await self._records.arrival_keys([look for _, look in asked], datetime.fromtimestamp(now, UTC))
            for (recent, look), key in zip(asked, keys, strict=True):
                repeated += key != look.key
                recent.key, recent.known = key, True
        for item in items:
            assert item.arrival is not None
            assert item.recent is not None
            item.arrival = _with_key(item.arrival, item.recent.key)
        return repeated

    async def known(self, items: Sequence[Item], now: float) -> frozenset[bytes]:
        """The fingerprints of those `items` that are texts which were taken in before, here or by another process,
        and were brought again. Raises `Unavailable`."""
        ours: set[bytes] = set()
        looks: dict[bytes, Look] = {}
        for item in items:
            recent = self._recent.get(item.fingerprint)
            if recent is not None and _is_again(item, recent, now):
                ours.add(item.fingerprint)
                continue
            came_at = datetime.fromtimestamp(item.at - item.stood_s, UTC)
            looks.setdefault(
                item.fingerprint, Look(item.fingerprint, "", came_at, "" if recent is None else recent.key)
            )
        asked = [look for look in looks.values() if look.fingerprint not in ours]
        keys = await self._records.known_keys(asked, datetime.fromtimestamp(now, UTC)) if asked else []
        return frozenset(ours.union(look.fingerprint for look, key in zip(asked, keys, strict=True) if key))

    async def _forget_settled(self, items: Sequence[Item], now: float) -> None:
        """Of the texts that `items` seem to bring again, forget those that another process was brought again and has
        settled since, before these came: they are others, said once more."""
        asked: dict[str, Item] = {}
        for item in items:
            recent = self._recent.get(item.fingerprint) if item.recent is None else None
            if recent is not None and recent.known and not recent.settled and _is_again(item, recent, now):
                asked.setdefault(recent.key, item)
        if not asked:
            return
        heard_by = datetime.fromtimestamp(now - HEARD_S, UTC)
        unsettled = await self._records.unsettled(list(asked), heard_by)
        lately = self._line() - HEARD_S  # who has settled one by now had acknowledged it by then
        for key, item in asked.items():
            if key not in unsettled and item.came_at - item.stood_s >= lately:
                del self._recent[item.fingerprint]

    def _recognise(self, item: Item, now: float) -> tuple[Recent, bool]:
        """What `item` is, and whether this process has had it before. Where it has not, its new key is remembered
        before others are asked whether they have: an answer that is lost leaves it known to them."""
        came_at = item.came_at - item.stood_s
        recent = self._recent.get(item.fingerprint)
        if recent is not None and _is_again(item, recent, now):
            recent.brought_again(item.pump.session, came_at)
            return recent, True
        self._recent.pop(item.fingerprint, None)
        new = Recent(uuid4().hex, item.pump.session, now, came_at, other="" if recent is None else recent.key)
        self._recent[item.fingerprint] = new
        if len(self._recent) > _LIMIT:
            self._recent.popitem(last=False)
        return new, False

    def settle_soon(self, items: Sequence[Item], now: float) -> None:
        """Note which of `items` were acknowledged."""
        for item in items:
            if item.recent is not None and item.recent.acknowledged_at is not None:
                self._settling.append((now + HEARD_S, item.pump, item.recent))

    def settles_at(self) -> float:
        """When `settle` has something to do."""
        return self._settling[0][0] if self._settling else math.inf

    async def settle(self, now: float) -> None:
        """Let other processes take what equals a text of ours for another one, once its SMSC knows that we have it and
        does not bring it again. One that says nothing by itself is asked whether it is there."""
        ats = enumerate(at for at, _, _ in self._settling)  # none is later than that, but where the clock was set back
        due = next((index for index, at in ats if now < at <= now + HEARD_S), len(self._settling))
        settling, self._settling = self._settling[:due], self._settling[due:]
        heard = [each for _, _, each in settling if each.heard]
        waiting = [(pump, each) for _, pump, each in settling if not each.heard and not each.session.ended]
        for pump in {pump for pump, each in waiting if pump.session is each.session and pump.session.can_deliver}:
            pump.enquire()
        if heard:
            late = [each.key for each in heard if each.late]
            prompt = [each.key for each in heard if not each.late]
            try:
                await self._records.settled(prompt, late, datetime.fromtimestamp(now, UTC))
                for each in heard:
                    each.settled = True
            except Unavailable as error:
                log.warning("smpp.settling_put_off", carrier=self._carrier, reason=error.message)
                waiting += [(pump, each) for _, pump, each in settling if each.heard]
        self._settling += [(now + HEARD_S, pump, each) for pump, each in waiting]


def apart(items: Sequence[Item]) -> list[list[Item]]:
    """`items` in pieces, in none of which a part is there twice: one that comes again may begin another text by the
    reference of the one before, which is to be whole and passed on by then."""
    pieces: list[list[Item]] = []
    places: set[tuple[GroupKey, int]] = set()
    for item in items:
        place = None if item.part is None else (item.part.key, item.part.sequence)
        if not pieces or place in places:
            pieces.append([])
            places.clear()
        if place is not None:
            places.add(place)
        pieces[-1].append(item)
    return pieces


def _is_again(item: Item, recent: Recent, now: float) -> bool:
    return recent.again(item.came_at) and now - recent.at < REPEAT.total_seconds()


def _with_key(arrival: Arrival, key: str) -> Arrival:
    return Arrival(key, arrival.sender, arrival.recipient, arrival.text, arrival.segments, arrival.at)
