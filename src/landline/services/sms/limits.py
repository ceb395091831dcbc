"""ACS's own sending limits as a policy that can be switched: over them a request is refused whole, with 429.

Processes tell one another over the bus what they took. Who reaches nobody keeps an equal part of the limits.
"""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import msgspec

from landline.core.errors import TooMany
from landline.core.forward_time import ForwardTime
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.services.sms.model.limits import PER_MINUTE, SlidingWindow, counted_as

SUBJECT = "sms.taken"
_REMEMBERED = 10_000
"""Senders whose last minute is remembered. Beyond it the sender that was quiet longest starts with a clean one."""


class _Taken(msgspec.Struct, frozen=True, array_like=True):
    """What some process let pass; below 0 what came to nothing of it."""

    process: int
    resource: UUID
    number: str
    kind: SenderKind
    count: int


_DECODER = msgspec.msgpack.Decoder(_Taken)


class Limits:
    """The last minute of every sender. `share` tells how many processes take requests: while they do not hear of one
    another, each keeps its equal part of the limits, at least 1."""

    def __init__(self, policy_on: bool, clock: Clock, share: Callable[[], int], bus: Bus | None = None) -> None:
        self._policy_on = policy_on
        self._clock = clock
        self._share = share
        self._bus = bus
        self._process = int.from_bytes(os.urandom(7))
        self._windows: OrderedDict[tuple[ResourceId, str], SlidingWindow] = OrderedDict()
        self._forward = ForwardTime()

    async def start(self) -> None:
        """Count what other processes take, too."""
        if self._bus is not None:
            await self._bus.subscribe(SUBJECT, self._heard)

    def take(
        self, resource: ResourceId, number: str, kind: SenderKind, count: int, *, policy_on: bool | None = None
    ) -> None:
        """Count a request for `count` recipients from `number`. Raises `TooMany`, having counted nothing, when they
        are more than the sender may still send this minute. `policy_on` is the resource's own choice, if it has one.
        """
        self.take_all(resource, [(number, kind, count)], policy_on=policy_on)

    def take_all(
        self, resource: ResourceId, wanted: Sequence[tuple[str, SenderKind, int]], *, policy_on: bool | None = None
    ) -> float | None:
        """`take` for a request that several senders share, each once: either all of it is counted or nothing. When it
        was counted, for `undo`; None when the policy is off."""
        if not (self._policy_on if policy_on is None else policy_on):
            return None
        together = self._bus is not None and self._bus.together
        now, share = self._now(), 1 if together else self._share()
        counts = _counts(wanted)
        limited = [
            (self._window((resource, number)), kind, count, max(1, PER_MINUTE[kind] // share))
            for (number, kind), count in counts.items()
        ]
        for window, kind, count, limit in limited:
            wait_s = window.wait_s(count, limit, now)
            if wait_s > 0:
                who = "The resource's sender names" if kind is SenderKind.ALPHANUMERIC else f"A {kind.value} sender"
                message = f"{who} may send to {PER_MINUTE[kind]} recipients a minute."
                raise TooMany(message, retry_after_s=wait_s)
        for window, _, count, limit in limited:
            window.take(count, limit, now)
        self._tell(resource, counts, 1)
        return now

    def undo(
        self, resource: ResourceId, repeated: Sequence[tuple[str, SenderKind, int]], counted_at: float | None
    ) -> None:
        """Of what `take_all` counted at `counted_at`, so many recipients had their messages already, from the same
        request that came before, or get none, as the database is away."""
        if counted_at is None:
            return
        counts = _counts(repeated)
        for (number, _), count in counts.items():
            self._window((resource, number)).undo(count, counted_at)
        self._tell(resource, counts, -1)

    def _tell(self, resource: ResourceId, counts: Mapping[tuple[str, SenderKind], int], sign: int) -> None:
        if self._bus is not None and self._bus.together:
            for (number, kind), count in counts.items():
                taken = _Taken(self._process, resource, number, kind, sign * count)
                self._bus.publish(SUBJECT, msgspec.msgpack.encode(taken))

    def _heard(self, data: bytes) -> None:
        taken = _DECODER.decode(data)
        if taken.process != self._process:
            window = self._window((ResourceId(taken.resource), counted_as(taken.number, taken.kind)))
            now = self._now()
            if taken.count > 0:
                window.add(taken.count, PER_MINUTE[taken.kind], now)
            else:
                window.undo(-taken.count, now)

    def _now(self) -> float:
        return self._forward.read(self._clock.now().timestamp())

    def _window(self, key: tuple[ResourceId, str]) -> SlidingWindow:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _REMEMBERED:
                self._windows.popitem(last=False)
            window = self._windows[key] = SlidingWindow()
        else:
            self._windows.move_to_end(key)
        return window


def _counts(wanted: Sequence[tuple[str, SenderKind, int]]) -> Counter[tuple[str, SenderKind]]:
    counts: Counter[tuple[str, SenderKind]] = Counter()
    for number, kind, count in wanted:
        if kind in PER_MINUTE:
            counts[counted_as(number, kind), kind] += count
    return counts
