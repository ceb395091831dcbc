"""ACS's own rates of chat as a policy that can be switched: over them a request is refused with 429."""

from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from landline.core.errors import TooMany
from landline.core.ids import RawId, ResourceId
from landline.ports.clock import Clock
from landline.services.chat.model.ids import ThreadId
from landline.services.chat.model.rates import RATES, Operation, Per, Rate, Window

_REMEMBERED = 50_000
"""Windows that are remembered. Beyond it the one that was quiet longest starts clean."""

_Key = tuple[Operation, Per, UUID, str, UUID | None]


class Rates:
    """The last minute of every user and thread, in this process, which keeps its equal part of the rates."""

    def __init__(self, policy_on: bool, clock: Clock, share: Callable[[], int]) -> None:
        self._policy_on = policy_on
        self._clock = clock
        self._share = share
        self._windows: OrderedDict[_Key, Window] = OrderedDict()

    def take(self, operation: Operation, resource: ResourceId, user: RawId, thread: ThreadId | None = None) -> None:
        """Count a request. Raises `TooMany`, having counted nothing, when it is over a rate."""
        if not self._policy_on:
            return
        now, share = self._clock.now().timestamp(), self._share()
        windows = [(rate, self._window(_key(operation, rate, resource, user, thread))) for rate in RATES[operation]]
        for rate, window in windows:
            wait_s = window.wait_s(rate.limits, now, share)
            if wait_s > 0:
                told = " and ".join(f"{count} in {seconds:g} s" for count, seconds in rate.limits)
                raise TooMany(f"A {rate.per.value} may {operation.value} {told}.", retry_after_s=wait_s)
        for rate, window in windows:
            window.take(rate.limits, now)

    def _window(self, key: _Key) -> Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _REMEMBERED:
                self._windows.popitem(last=False)
            window = self._windows[key] = Window()
        else:
            self._windows.move_to_end(key)
        return window


def _key(operation: Operation, rate: Rate, resource: ResourceId, user: RawId, thread: ThreadId | None) -> _Key:
    return (
        operation,
        rate.per,
        resource,
        "" if rate.per is Per.THREAD else user,
        None if rate.per is Per.USER else thread,
    )
