"""How fast messages go and in which order: token buckets, and a carrier's queue with a lane for each sender.

`now` is seconds on a clock that may be set. Lanes are served by deficit round robin (Shreedhar and Varghese,
SIGCOMM 1995), so that one sender's campaign does not stand before another's single message.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from typing import Generic, TypeVar

_BURST_S = 0.1
"""How much of a second's messages may go at once when nothing else is said."""
_LATE_S = 0.0005
"""Waits end a little late rather than early: an alarm at the very instant may find 0.9999 of a token."""
_ROUNDING = 1e-6
_SET_BACK_S = 1.0
"""A clock that reads so much less than before was set: what passes counts from there."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class TokenBucket:
    """In any span of `s` seconds at most `burst + rate_per_s * s` are taken, whoever keeps to `allowance`."""

    __slots__ = ("_filled_at", "_tokens", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float | None = None, *, now: float) -> None:
        """Full at `now`. `burst` is a tenth of a second's, at least 1, when None."""
        assert rate_per_s > 0
        self.rate_per_s = rate_per_s
        self.burst = _burst(rate_per_s, burst)
        self._tokens = self.burst
        self._filled_at = now

    def allowance(self, now: float) -> int:
        """How many may be taken at `now`."""
        self._fill(now)
        return max(int(self._tokens + _ROUNDING), 0)

    def take(self, count: int, now: float) -> None:
        """`count` were taken. More than were allowed are a debt, paid before anything more is allowed; less than none
        were given back."""
        self._fill(now)
        self._tokens -= count

    def next_at(self, now: float, count: int = 1) -> float:
        """The instant from which `count` (at most `burst`) are allowed; `now` when they are already."""
        missing = min(count, int(self.burst)) - self._level(now)
        return now if missing <= _ROUNDING else now + missing / self.rate_per_s + _LATE_S

    def retune(self, rate_per_s: float, burst: float | None = None, *, now: float) -> None:
        """Another rate from `now` on; what is left stays, as far as the new burst reaches."""
        assert rate_per_s > 0
        self._fill(now)
        self.rate_per_s = rate_per_s
        self.burst = _burst(rate_per_s, burst)
        self._tokens = min(self._tokens, self.burst)

    def full(self, now: float) -> bool:
        """Whether it is as if nothing had been taken for long: then it may be forgotten and made anew."""
        return self._level(now) >= self.burst

    def _level(self, now: float) -> float:
        return min(self._tokens + max(now - self._filled_at, 0.0) * self.rate_per_s, self.burst)

    def _fill(self, now: float) -> None:
        self._tokens = self._level(now)
        self._filled_at = now if now < self._filled_at - _SET_BACK_S else max(now, self._filled_at)


def _burst(rate_per_s: float, burst: float | None) -> float:
    return max(rate_per_s * _BURST_S if burst is None else burst, 1.0)


class _Lane(Generic[K, T]):
    __slots__ = ("deficit", "items", "key", "serving")

    def __init__(self, key: K) -> None:
        self.key = key
        self.items: deque[T] = deque()
        self.deficit = 0
        self.serving = False
        """Whether its turn has begun and was cut short by the end of a `take`."""


class Lanes(Generic[K, T]):
    """The messages that wait for one carrier: first in, first out for each sender, fair between senders.

    Of two senders that both have messages waiting all the while, neither is served more than two quanta and the
    costliest message ahead of the other. `limit` is asked for a sender's bucket whenever its turn comes, so buckets
    may be shared with other carriers' lanes and may come and go. `cost` is what a message counts in a turn and in
    `bucket` (its segments); None is 1 for each. A sender's bucket counts messages.
    """

    def __init__(
        self,
        *,
        bucket: TokenBucket | None = None,
        limit: Callable[[K], TokenBucket | None] | None = None,
        cost: Callable[[T], int] | None = None,
        quantum: int = 10,
    ) -> None:
        self.bucket = bucket
        """The carrier's own; may be set at any time."""
        self._limit = limit
        self._cost = cost
        self._quantum = quantum
        self._lanes: dict[K, _Lane[K, T]] = {}
        self._turns: deque[_Lane[K, T]] = deque()
        self._waiting: list[tuple[float, int, _Lane[K, T]]] = []
        """Lanes whose sender may not send before an instant, the earliest first."""
        self._waits = 0
        self._taken_at = -inf

    def push(self, sender: K, item: T) -> None:
        """`item` is the last of its sender."""
        lane = self._lanes.get(sender)
        if lane is None:
            lane = self._open(sender)
        lane.items.append(item)

    def push_front(self, sender: K, item: T) -> None:
        """`item` is the next of its sender: it was taken and could not be sent. Of several, push the last first."""
        lane = self._lanes.get(sender)
        if lane is None:
            lane = self._open(sender)
        lane.items.appendleft(item)

    def take(self, count: int, now: float) -> list[T]:
        """Up to `count` items, in the order to send them; fewer, or none, when buckets allow no more at `now`."""
        if now < self._taken_at - _SET_BACK_S:
            self.retuned()  # who waited for an instant would wait for as long as the clock was set back
        self._taken_at, waiting = now, self._waiting
        while waiting and waiting[0][0] <= now:
            self._turns.append(heappop(waiting)[2])
        turns = self._turns
        if len(turns) == 1 and self.bucket is None and self._bucket_of(turns[0]) is None:
            return self._take_alone(turns[0], count)
        taken: list[T] = []
        while turns and len(taken) < count:
            lane = turns[0]
            taken += self._turn(lane, count - len(taken), now)
            if turns and turns[0] is lane:
                break  # `count` or the carrier's bucket allows no more of it, so of no other either
        return taken

    def next_at(self, now: float) -> float | None:
        """The instant from which `take` may give more, asked after a `take` that gave too little; None when nothing
        waits, and `now` when only `count` was in the way."""
        if self._turns:
            at, head = now, self._turns[0].items[0]
        elif self._waiting:
            at, head = max(self._waiting[0][0], now), self._waiting[0][2].items[0]
        else:
            return None
        if self.bucket is None:
            return at
        return max(at, self.bucket.next_at(now, 1 if self._cost is None else self._cost(head)))

    def give_back(self, sender: K, items: Collection[T], now: float) -> None:
        """`items` of `sender` were taken and are not sent: what they were allowed is for those behind them."""
        if self.bucket is not None:
            self.bucket.take(-(len(items) if self._cost is None else sum(map(self._cost, items))), now)
        limit = None if self._limit is None else self._limit(sender)
        if limit is not None:
            limit.take(-len(items), now)
            self._turns.extend(lane for _, _, lane in self._waiting if lane.key == sender)
            self._waiting = [each for each in self._waiting if each[2].key != sender]
            heapify(self._waiting)

    def retuned(self) -> None:
        """Senders' buckets were changed: those that wait for theirs are to be asked again."""
        self._turns.extend(lane for _, _, lane in sorted(self._waiting))
        self._waiting.clear()

    def remove(self, sender: K, item: T) -> bool:
        """Take `item` itself, whatever the buckets say and wherever it stands; whether it was there."""
        lane = self._lanes.get(sender)
        place = None if lane is None else next((n for n, each in enumerate(lane.items) if each is item), None)
        if lane is None or place is None:
            return False
        del lane.items[place]
        if not lane.items:
            del self._lanes[sender]
            self._turns = deque(each for each in self._turns if each is not lane)
            self._waiting = [each for each in self._waiting if each[2] is not lane]
            heapify(self._waiting)
        return True

    def remove_all(self) -> list[T]:
        """Take everything, whatever the buckets say; each sender's items in their order."""
        items = list(self)
        self._lanes.clear()
        self._turns.clear()
        self._waiting.clear()
        return items

    def sizes(self) -> dict[K, int]:
        """How many items of each sender wait."""
        return {sender: len(lane.items) for sender, lane in self._lanes.items()}

    def size(self, sender: K) -> int:
        """How many items of `sender` wait."""
        lane = self._lanes.get(sender)
        return 0 if lane is None else len(lane.items)

    def paced(self) -> set[K]:
        """The senders whose items wait for the sender's own bucket."""
        return {lane.key for _, _, lane in self._waiting}

    def __len__(self) -> int:
        return sum([len(lane.items) for lane in self._lanes.values()])

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[T]:
        """All items, sender by sender; nothing is taken."""
        for lane in self._lanes.values():
            yield from lane.items

    def _open(self, sender: K) -> _Lane[K, T]:
        lane = self._lanes[sender] = _Lane[K, T](sender)
        self._turns.append(lane)
        return lane

    def _close(self, lane: _Lane[K, T]) -> None:
        del self._lanes[lane.key]
        self._turns.popleft()

    def _take_alone(self, lane: _Lane[K, T], count: int) -> list[T]:
        items = lane.items
        if count >= len(items):
            self._close(lane)
            return list(items)
        lane.deficit, lane.serving = 0, False
        return [items.popleft() for _ in range(count)]

    def _turn(self, lane: _Lane[K, T], room: int, now: float) -> list[T]:
        """Serve the lane whose turn it is. It stays where it is only when the carrier's bucket, or `room`, cuts its
        turn short."""
        limit = self._bucket_of(lane)
        allowed = len(lane.items) if limit is None else limit.allowance(now)
        if limit is not None and allowed < 1:
            self._wait(lane, limit.next_at(now))
            return []
        alone = len(self._turns) == 1
        if not alone and not lane.serving:
            lane.deficit += self._quantum
        count, cost, over = self._share(lane, min(room, allowed), None if alone else lane.deficit, now)
        lane.serving = not alone
        lane.deficit = 0 if alone else lane.deficit - cost
        if self.bucket is not None:
            self.bucket.take(cost, now)
        if limit is not None:
            limit.take(count, now)
        taken = [lane.items.popleft() for _ in range(count)]
        if not lane.items:
            self._close(lane)
        elif limit is not None and count == allowed:
            self._wait(lane, limit.next_at(now))
        elif over:
            lane.serving = False
            self._turns.rotate(-1)
        return taken

    def _share(self, lane: _Lane[K, T], most: int, deficit: int | None, now: float) -> tuple[int, int, bool]:
        """(how many of the lane's first `most` items may go now, what they cost, whether its turn is over)."""
        free = None if self.bucket is None else self.bucket.allowance(now)
        if self._cost is None:
            count = min([each for each in (most, len(lane.items), deficit, free) if each is not None])
            return count, count, count == deficit
        largest = 0 if self.bucket is None else int(self.bucket.burst)
        count = total = 0
        for item in islice(lane.items, most):
            cost = self._cost(item)
            if deficit is not None and total + cost > deficit:
                return count, total, True
            if free is not None and free - total < min(cost, largest):
                break
            count, total = count + 1, total + cost
        return count, total, False

    def _wait(self, lane: _Lane[K, T], at: float) -> None:
        lane.deficit, lane.serving = 0, False
        self._turns.popleft()
        self._waits += 1
        heappush(self._waiting, (at, self._waits, lane))

    def _bucket_of(self, lane: _Lane[K, T]) -> TokenBucket | None:
        return None if self._limit is None else self._limit(lane.key)
