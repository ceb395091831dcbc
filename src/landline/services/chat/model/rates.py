"""ACS's own rates of chat (acs-wire.md 7.2) as sliding windows."""

from collections import deque
from dataclasses import dataclass
from enum import Enum


class Per(Enum):
    """Whose requests are counted together."""

    USER = "user"
    THREAD = "thread"
    USER_IN_THREAD = "user in a thread"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limits` of requests: (count, seconds), each over any such stretch of time."""

    per: Per
    limits: tuple[tuple[int, float], ...]


class Operation(Enum):
    """Operations that share a rate."""

    CREATE_OR_DELETE_THREAD = "create or delete a thread"
    UPDATE_THREAD = "update a thread"
    CHANGE_PARTICIPANTS = "add or remove participants"
    WRITE_MESSAGE = "send, update or delete a message"
    READ_MESSAGES = "read messages"
    TYPING = "send a typing indicator"
    READ_RECEIPT = "send a read receipt"


RATES: dict[Operation, tuple[Rate, ...]] = {
    Operation.CREATE_OR_DELETE_THREAD: (Rate(Per.USER, ((10, 10.0),)),),
    Operation.UPDATE_THREAD: (Rate(Per.THREAD, ((5, 10.0),)),),
    Operation.CHANGE_PARTICIPANTS: (Rate(Per.THREAD, ((10, 10.0), (30, 60.0))),),
    Operation.WRITE_MESSAGE: (Rate(Per.THREAD, ((10, 10.0), (30, 60.0))),),
    Operation.READ_MESSAGES: (
        Rate(Per.USER_IN_THREAD, ((50, 10.0), (200, 60.0))),
        Rate(Per.THREAD, ((250, 10.0), (400, 60.0))),
    ),
    Operation.TYPING: (Rate(Per.USER_IN_THREAD, ((5, 10.0), (15, 60.0))),),
    Operation.READ_RECEIPT: (Rate(Per.USER_IN_THREAD, ((10, 10.0), (30, 60.0))),),
}
"""What each operation must keep."""


class Window:
    """When the latest requests were; as many as the largest limit counts."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def wait_s(self, limits: tuple[tuple[int, float], ...], now: float, share: int) -> float:
        """Seconds until one more request keeps to all `limits`, of which `share` processes keep a part each."""
        wait = 0.0
        for count, seconds in limits:
            allowed = max(1, count // share)
            if len(self._taken) >= allowed:
                wait = max(wait, self._taken[-allowed] + seconds - now)
        return wait

    def take(self, limits: tuple[tuple[int, float], ...], now: float) -> None:
        """Count one request."""
        self._taken.append(now)
        largest = max(count for count, _ in limits)
        if len(self._taken) > largest:
            self._taken.popleft()
