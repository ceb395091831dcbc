"""Which of a carrier's binds this process keeps up: all of them when it is alone, else its share by pure decision."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

_PATIENCE = timedelta(seconds=20)
"""How long slots over which nothing can be submitted are kept from others: some attempts to bind."""
_PAUSE_FIRST, _PAUSE_LIMIT = timedelta(seconds=60), timedelta(seconds=960)


class Slots(Protocol):
    """This process's slots of one carrier. A slot is one transceiver, or one pair."""

    @property
    def held(self) -> frozenset[int]:
        """The slots whose binds are to be up here now."""
        ...

    @property
    def up_elsewhere(self) -> bool:
        """Whether another process can submit, as far as it has said."""
        ...

    @property
    def on_trial(self) -> bool:
        """Whether this process could not submit over the slots that it had last, and another one can over its own."""
        ...

    async def start(self, changed: Callable[[], None]) -> None:
        """Ask for a share; `changed` is called whenever `held` or `on_trial` has changed. Raises `Unavailable`."""
        ...

    def let_go(self, slot: int) -> None:
        """The bind of a slot that is held no more has ended: another process may open it."""
        ...

    def say_up(self, up: bool) -> None:
        """Whether this process can submit over its binds, for the others to know."""
        ...

    async def close(self) -> None:
        """Every bind has ended, this process wants none."""
        ...


class AllMine:
    """All slots, always: for the only process on a database. Fills `Slots`."""

    def __init__(self, binds: int) -> None:
        self.held = frozenset(range(binds))
        self.up_elsewhere = False
        self.on_trial = False

    async def start(self, changed: Callable[[], None]) -> None:
        pass

    def let_go(self, slot: int) -> None:
        pass

    def say_up(self, up: bool) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as all processes see it."""

    number: int
    owner: UUID | None
    until: datetime
    leaving: bool
    up: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What a process does about its share."""

    keep: frozenset[int]
    """Held and to be renewed, those that are leaving included."""
    claim: frozenset[int]
    leave: frozenset[int]
    """Among `keep`: to be ended and given up."""


def share(me: UUID, slots: Sequence[Slot], sharers: Set[UUID], now: datetime, *, expected: int = 1) -> Share:
    """This process's part of `slots`, which all look at in turn: as many for each of `sharers` as divide evenly, and
    one more for some. What is even already is left alone, so that binds do not wander. `expected` sharers count as
    there.
    """
    count = max(len(sharers | {me}), expected)
    least, rest = divmod(len(slots), count)
    most = least + (rest > 0)
    mine = {slot.number for slot in slots if slot.owner == me}
    leaving = {slot.number for slot in slots if slot.owner == me and slot.leaving}
    free = [slot.number for slot in slots if slot.owner != me and (slot.owner is None or slot.until <= now)]
    staying = len(mine) - len(leaving)
    wants = [_staying(other, slots, now) for other in sharers - {me}]
    lacking = sum(max(least - held, 0) for held in wants)
    could = sum(max(most - held, 0) for held in wants)
    claim = min(len(free), max(least - staying, 0))
    claim += min(max(len(free) - claim - lacking, 0), max(most - max(staying, least), 0))
    coming = len(free) + sum(slot.leaving for slot in slots if slot.owner is not None and slot.until > now)
    spare = sum(max(held - most, 0) for held in wants)  # what others give up anyway
    short = max(lacking - coming - spare, 0)
    give = max(min(staying - most, could), min(staying - least, short), 0)
    keeping = sorted(mine - leaving)
    return Share(frozenset(mine), frozenset(free[:claim]), frozenset(leaving | set(keeping[len(keeping) - give :])))


def up_elsewhere(me: UUID, slots: Sequence[Slot], now: datetime) -> bool:
    """Whether another process can submit, as it said."""
    return any(slot.up and slot.owner not in (None, me) and slot.until > now for slot in slots)


class Turns:
    """When a process that cannot submit over its slots, as one that the SMSC's firewall does not know, leaves them to
    others for a while: to those who can over theirs, or have none to try it with. It tries again after growing pauses,
    and at once when nobody else is left."""

    def __init__(self) -> None:
        self.failed = False
        """Whether it has left slots to others, and could not submit since."""
        self._failing_since: datetime | None = None
        self._away_until: datetime | None = None
        self._pause = _PAUSE_FIRST

    def passes(self, me: UUID, slots: Sequence[Slot], sharers: Set[UUID], now: datetime, *, up: bool) -> bool:
        """Whether this process does without slots now. `up`: whether it can submit. To be asked at each look."""
        others = sharers - {me}
        if self._away_until is not None and others and now < self._away_until:
            return True
        if up or self._away_until is not None or not self._hinders(me, slots, others, now):
            self._failing_since = self._away_until = None
        elif self._failing_since is None:
            self._failing_since = now
        if up:
            self.failed, self._pause = False, _PAUSE_FIRST
        if self._failing_since is None or now - self._failing_since < _PATIENCE:
            return False
        self.failed, self._away_until = True, now + self._pause
        self._pause = min(self._pause * 2, _PAUSE_LIMIT)
        return True

    @staticmethod
    def _hinders(me: UUID, slots: Sequence[Slot], others: Set[UUID], now: datetime) -> bool:
        ours = any(slot.owner == me and not slot.leaving for slot in slots)
        holders = {slot.owner for slot in slots if slot.owner is not None and slot.until > now}
        return ours and (up_elsewhere(me, slots, now) or bool(others - holders))


def _staying(owner: UUID, slots: Sequence[Slot], now: datetime) -> int:
    return sum(1 for slot in slots if slot.owner == owner and not slot.leaving and slot.until > now)
