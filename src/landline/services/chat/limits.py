"""ACS's own rates of chat as a policy that can be switched: over them a request is refused with 429.

Processes tell one another over the bus what they took, so that a rate is the same wherever a client's connection went.
Between two of them it may be passed by what is on its way. Who reaches nobody keeps an equal part of the rates.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import msgspec

from landline.core.errors import TooMany
from landline.core.forward_time import ForwardTime
from landline.core.ids import RawId, ResourceId
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.services.chat.model.ids import ThreadId
from landline.services.chat.model.rates import RATES, Operation, Per, Rate, Window

SUBJECT = "chat.taken"
_REMEMBERED = 50_000
"""Windows that are remembered. Beyond it the one that was quiet longest starts clean."""

_Key = tuple[Operation, Per, UUID, str, UUID | None]


class _Taken(msgspec.Struct, frozen=True, array_like=True):
    """A request that some process let pass."""

    process: int
    operation: Operation
    resource: UUID
    user: str
    thread: UUID | None


_DECODER = msgspec.msgpack.Decoder(_Taken)


class Rates:
    """The last minute of every user and thread."""

    def __init__(self, policy_on: bool, clock: Clock, share: Callable[[], int], bus: Bus) -> None:
        """`share`: how many processes take requests."""
        self._policy_on = policy_on
        self._clock = clock
        self._share = share
        self._bus = bus
        self._process = int.from_bytes(os.urandom(7))
        self._windows: OrderedDict[_Key, Window] = OrderedDict()
        self._forward = ForwardTime()

    async def start(self) -> None:
        """Count what other processes take, too."""
        if self._policy_on:
            await self._bus.subscribe(SUBJECT, self._heard)

    def check(self, operation: Operation, resource: ResourceId, user: RawId, thread: ThreadId) -> None:
        """Raises `TooMany` when a request is over a rate; counts nothing. For requests of which it is not known yet
        whether they are of somebody in the thread: nobody else is to take of its rates."""
        if self._policy_on:
            self._checked(_Taken(self._process, operation, resource, user, thread))

    def take(self, operation: Operation, resource: ResourceId, user: RawId, thread: ThreadId | None = None) -> None:
        """Count a request. Raises `TooMany`, having counted nothing, when it is over a rate."""
        if not self._policy_on:
            return
        taken = _Taken(self._process, operation, resource, user, thread)
        now = self._checked(taken)
        for rate, window in self._windows_of(taken):
            window.take(rate.limits, now)
        self._bus.publish(SUBJECT, msgspec.msgpack.encode(taken))

    def _now(self) -> float:
        return self._forward.read(self._clock.now().timestamp())

    def _checked(self, taken: _Taken) -> float:
        """The instant at which `taken` is within its rates. Raises `TooMany`."""
        now, share = self._now(), 1 if self._bus.together else self._share()
        for rate in RATES[taken.operation]:
            window = self._windows.get(_key(rate, taken))
            wait_s = 0.0 if window is None else window.wait_s(rate.limits, now, share)
            if wait_s > 0:
                told = " and ".join(f"{count} in {seconds:g} s" for count, seconds in rate.limits)
                raise TooMany(f"A {rate.per.value} may {taken.operation.value} {told}.", retry_after_s=wait_s)
        return now

    def _heard(self, data: bytes) -> None:
        taken = _DECODER.decode(data)
        if taken.process != self._process:
            now = self._now()
            for rate, window in self._windows_of(taken):
                window.take(rate.limits, now)

    def _windows_of(self, taken: _Taken) -> list[tuple[Rate, Window]]:
        return [(rate, self._window(_key(rate, taken))) for rate in RATES[taken.operation]]

    def _window(self, key: _Key) -> Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _REMEMBERED:
                self._windows.popitem(last=False)
            window = self._windows[key] = Window()
        else:
            self._windows.move_to_end(key)
        return window


def _key(rate: Rate, taken: _Taken) -> _Key:
    return (
        taken.operation,
        rate.per,
        taken.resource,
        "" if rate.per is Per.THREAD else taken.user,
        None if rate.per is Per.USER else taken.thread,
    )
