"""The requests under way: for each subscription a lane with its own queue and its own width, so that a slow or dead
endpoint holds up nobody else's events.

A lane widens with every delivery and narrows with every failure to answer, so dead endpoints keep few requests open.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.log_limit import LogLimit
from landline.ports.callout import Answer, CalloutFailed
from landline.services.events import records
from landline.services.events.model import (
    DELIVERED,
    Again,
    Dead,
    Delivery,
    Gone,
    Outcome,
    State,
    verdict,
)
from landline.services.events.records import Result
from landline.services.events.requests import Form, origin_of
from landline.services.events.results import Results
from landline.services.events.service import Events, Target

log = structlog.get_logger()
TIMEOUT_S = 30.0
LANE_LIMIT = 4096
"""Deliveries of one subscription in memory; what comes beyond waits in the database."""
TOTAL_LIMIT = 20_000
"""Deliveries of all subscriptions in memory."""
IN_FLIGHT_LIMIT = 512
"""Requests of all subscriptions under way. Half of them may be to endpoints that are slow: hundreds of those would hold
up all others. Where more are to endpoints that then turn out to be slow, half as many may be to the others beside."""
_SLOW_S = 3.0
"""An endpoint is slow that took so long for a request, whatever came of it, or has answered none for so long. By the
event loop's clock: endpoints cannot be driven."""
_LOOK_S = 1.0
"""How often it is looked which of them have answered none."""
_SLOW_KEPT = 16
"""Deliveries to a slow one in memory: a few of those, with thousands each, would leave no room for others."""
_NARROWEST, _FIRST, _WIDEST = 4, 16, 64
_TROUBLE = timedelta(seconds=10)
_LONGEST_GAP = timedelta(minutes=1)
"""Between two requests of all processes to an endpoint: the least rate that one can allow."""
_NOT_TRIED = (None, None)


@dataclass(slots=True, eq=False)
class Lane:
    """One subscription's deliveries in memory. `width` bounds its requests under way, of which there are `asked`."""

    subscription: UUID
    waiting: deque[Delivery] = field(default_factory=deque[Delivery])
    width: int = _FIRST
    looking: bool = False
    """What a request to it needs is being looked up."""
    next_slot: datetime | None = None
    """When the endpoint's allowed rate lets the next request go."""
    starved: bool = False
    slow: bool = False
    """Whether its last request took long, or does."""
    asked: int = 0
    """Requests that its endpoint has not answered."""
    heard: float = 0.0
    """When the endpoint ended a request last, or was asked after it had ended all."""
    most: int = field(default_factory=lambda: LANE_LIMIT)
    """Deliveries that memory has for it."""
    form: Form | None = None


class Lanes:
    """All lanes of this process. `hungry` is called when a lane that was skipped can take rows again, and when a lane
    paused by its endpoint's rate must be resumed later."""

    def __init__(self, events: Events, results: Results, hungry: Callable[[], None]) -> None:
        self._events = events
        self._results = results
        self._hungry = hungry
        self._origin = origin_of(events.public_base_url)
        self._lanes: dict[UUID, Lane] = {}
        self._waiting = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way = 0
        """Requests, and lookups for them."""
        self._lookups: set[asyncio.Task[None]] = set()
        self._busy: AbstractContextManager[None] | None = None
        """Entered while something is under way."""
        self._idle = asyncio.Event()
        """Set while nothing is."""
        self._idle.set()
        self._closed = False
        self._starved: deque[Lane] = deque()
        self._set_back: deque[Lane] = deque()
        """Slow ones that wait until other slow ones have fewer requests under way."""
        self._slow_under_way = 0
        self._look: asyncio.TimerHandle | None = None
        self._skipped: set[UUID] = set()
        self._told = LogLimit()

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """From now on requests go out; what one needs is looked up in `tasks`."""
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Send nothing new."""
        self._tasks = None

    async def close(self, drain_s: float) -> None:
        """Send nothing new; requests under way get `drain_s` to end. What comes of them later counts for nothing."""
        self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._idle.wait()
        self._closed = True
        for lookup in self._lookups:
            lookup.cancel()

    def room(self, subscription: UUID) -> int:
        """How many more deliveries of `subscription` fit in memory."""
        lane = self._lanes.get(subscription)
        return LANE_LIMIT if lane is None else lane.most - len(lane.waiting)

    def total_room(self) -> int:
        """How many more of all subscriptions do."""
        return TOTAL_LIMIT - self._waiting

    def portion(self, limit: int, due: int) -> int:
        """How many rows of each of `due` subscriptions are to be claimed at once, up to `limit`: together no more than
        memory has room for, and those that take little have half of memory at most."""
        fair = min(limit, (TOTAL_LIMIT - self._waiting) // due)
        few = sum(lane.most < LANE_LIMIT for lane in self._lanes.values())
        return max(1, min(fair, TOTAL_LIMIT // (2 * few)) if few else fair)

    @property
    def full(self) -> bool:
        """Whether memory takes no more."""
        return self._waiting >= TOTAL_LIMIT

    def skipped(self) -> set[UUID]:
        """The subscriptions whose rows need not be claimed now, because enough of them are here already."""
        self._skipped = {lane.subscription for lane in self._lanes.values() if len(lane.waiting) > lane.width}
        return self._skipped

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver these, beside whatever is on its way."""
        touched: dict[UUID, Lane] = {}
        for delivery in deliveries:
            lane = touched.get(delivery.subscription)
            if lane is None:
                lane = self._lanes.get(delivery.subscription)
                if lane is None:
                    lane = self._lanes[delivery.subscription] = Lane(delivery.subscription)
                touched[delivery.subscription] = lane
            lane.waiting.append(delivery)
        self._waiting += len(deliveries)
        self._results.expect(deliveries)
        for lane in touched.values():
            self._start(lane)

    def resume(self, now: datetime) -> datetime | None:
        """Go on with the lanes whose rate allows it by now; when the next will."""
        waiting = [lane for lane in self._lanes.values() if lane.next_slot is not None and lane.waiting]
        for lane in waiting:
            if not self._paused(lane):
                self._start(lane)
        return min((lane.next_slot for lane in waiting if lane.next_slot and lane.next_slot > now), default=None)

    def _start(self, lane: Lane) -> None:
        """Ask the endpoint as often as it may be asked at once."""
        if lane.looking or not self._may_ask(lane):
            return
        target = self._events.known_target(lane.subscription)
        if target is not None:
            self._fill(lane, target)
            return
        assert self._tasks is not None, "it may be asked"
        lane.looking = True
        self._begun()
        lookup = self._tasks.create_task(self._look_up(lane))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)

    def _fill(self, lane: Lane, target: Target) -> None:
        while self._may_ask(lane):
            self._deliver(lane, target)

    def _may_ask(self, lane: Lane) -> bool:
        """Whether the next of `lane` can be sent now. Else whoever it waits for knows."""
        if self._tasks is None or not lane.waiting:
            return False
        if self._paused(lane):
            self._hungry()  # whoever asks when to `resume` asks again
            return False
        if lane.asked >= self._width(lane):
            return False
        queue = self._queue(lane)
        if queue is not None and not lane.starved:
            lane.starved = True
            queue.append(lane)
        return queue is None

    async def _look_up(self, lane: Lane) -> None:
        batch: list[Delivery] = []
        target: Target | None = None
        try:
            target = await self._events.target(lane.subscription)
            if target is None:
                batch += self._pop(lane, len(lane.waiting))
                await self._discard(batch)
        except Unavailable as error:  # whose subscription it is cannot be looked up just now
            log.warning("events.delivery_waits", subscription_id=str(lane.subscription), reason=error.message)
            self._put_off(batch or self._pop(lane, len(lane.waiting)), _TROUBLE)
        except Exception:
            self._trouble(lane, batch or self._pop(lane, len(lane.waiting)))
        finally:
            lane.looking = False
            self._under_way -= 1
            if target is not None:
                self._fill(lane, target)
            self._go_on(lane)

    def _queue(self, lane: Lane) -> deque[Lane] | None:
        """Where `lane` is to wait before it has another request; None when it may."""
        if lane.slow and self._slow_under_way >= max(1, IN_FLIGHT_LIMIT // 2):
            return self._set_back
        count, beside = self._under_way, IN_FLIGHT_LIMIT // 2
        if count < IN_FLIGHT_LIMIT:
            return None
        quick = not lane.slow and count - self._slow_under_way < beside and count < IN_FLIGHT_LIMIT + beside
        return None if quick else self._starved

    def _width(self, lane: Lane) -> int:
        # When half of all requests are under way, nobody takes many more: some must be left for everybody.
        if self._under_way >= IN_FLIGHT_LIMIT and self._slow_under_way > IN_FLIGHT_LIMIT // 2:
            return 1  # whoever is not known to be slow may be
        return lane.width if self._under_way < IN_FLIGHT_LIMIT / 2 else min(lane.width, _NARROWEST)

    def _begun(self) -> None:
        self._under_way += 1
        if self._busy is None:
            self._busy = self._events.clock.busy()
            self._busy.__enter__()
            self._idle.clear()
            self._look_again()

    def _go_on(self, lane: Lane) -> None:
        """A request of `lane`, or a lookup, is over: those who waited for that have their turn, then `lane` itself."""
        if self._starved or self._set_back:
            self._let_in()
        if lane.subscription in self._skipped and len(lane.waiting) <= lane.width:
            self._skipped.discard(lane.subscription)
            self._hungry()
        self._start(lane)
        done = not (lane.waiting or lane.asked or lane.looking or lane.slow)
        if done and lane.width >= _FIRST and lane.next_slot is None:
            self._lanes.pop(lane.subscription, None)
        if not self._under_way and self._busy is not None:
            self._busy.__exit__(None, None, None)
            self._busy = None
            self._idle.set()
            if self._look is not None:
                self._look.cancel()

    def _look_again(self) -> None:
        self._look = asyncio.get_running_loop().call_later(_LOOK_S, self._find_slow)

    def _find_slow(self) -> None:
        """Those that hang are known by it before their requests are given up: when very many begin to at once, all
        requests are theirs."""
        self._look_again()
        at = asyncio.get_running_loop().time() - _SLOW_S
        for lane in [each for each in self._lanes.values() if each.asked and not each.slow and each.heard <= at]:
            assert lane.form is not None, "it was asked in some form"
            self._note(lane, slow=True, rate_per_minute=lane.form.target.subscription.settings.rate_per_minute)
        self._let_in()

    def _let_in(self) -> None:
        """Have those go on who wait for others' requests to end, as far as they may."""
        for queue in (self._starved, self._set_back):
            for _ in range(len(queue)):  # who has to wait again has gone to the end of one of them
                if self._queue(queue[0]) is queue:
                    break
                lane = queue.popleft()
                lane.starved = False
                self._start(lane)

    def _paused(self, lane: Lane) -> bool:
        if lane.next_slot is None:
            return False
        now = self._events.clock.now()
        if lane.next_slot > now + _LONGEST_GAP * self._events.share():
            lane.next_slot = now  # the clock was set back
        return lane.next_slot > now

    def _trouble(self, lane: Lane, batch: Sequence[Delivery], bug: Exception | bool = True) -> None:
        log.error("events.delivery_trouble", subscription_id=str(lane.subscription), exc_info=bug)
        self._put_off(batch, _TROUBLE)

    def _deliver(self, lane: Lane, target: Target) -> None:
        """One request with the first of the lane's deliveries."""
        batch: list[Delivery] = []
        try:
            self._send(lane, target, batch)
        except Exception:
            self._trouble(lane, batch or self._pop(lane, len(lane.waiting)))

    def _send(self, lane: Lane, target: Target, batch: list[Delivery]) -> None:
        form = lane.form
        if form is None or form.target is not target:
            form = lane.form = Form(target, self._origin)
        batch += self._pop(lane, form.first_batch(lane.waiting))
        if target.subscription.state is not State.ENABLED:
            self._put_off(batch, timedelta(0))  # it waits in the database until the subscription is enabled
            return
        now = self._events.clock.now()
        settings = target.subscription.settings
        self._set_aside(batch, now - form.time_to_live, now)
        if not batch:
            return
        if settings.rate_per_minute is not None:
            gap = timedelta(seconds=60 * self._events.share() / settings.rate_per_minute)
            lane.next_slot = max(now, lane.next_slot or now) + gap
        headers, body = form.notification(batch, now)
        began = self._loop.time()
        self._events.callout.post(
            settings.endpoint,
            headers=headers,
            body=body,
            timeout_s=TIMEOUT_S,
            answer_limit_bytes=1024,
            answered=partial(self._answered, lane, form, batch, began),
        )
        self._begun()
        self._slow_under_way += lane.slow
        if not lane.asked:
            lane.heard = began
        lane.asked += 1

    def _answered(
        self, lane: Lane, form: Form, batch: list[Delivery], began: float, answer: Answer | Exception
    ) -> None:
        lane.asked -= 1
        self._under_way -= 1
        self._slow_under_way -= lane.slow
        lane.heard = self._loop.time()
        if not self._closed:
            rate_per_minute = form.target.subscription.settings.rate_per_minute
            self._note(lane, slow=lane.heard - began >= _SLOW_S, rate_per_minute=rate_per_minute)
            self._conclude(lane, form.target, batch, answer)
        self._go_on(lane)

    def _conclude(self, lane: Lane, target: Target, batch: list[Delivery], answer: Answer | Exception) -> None:
        now = self._events.clock.now()
        if isinstance(answer, Answer):
            outcome = Outcome(now, answer.status)
        elif isinstance(answer, CalloutFailed):
            outcome = Outcome(now, None, f"{answer.reason}: {answer}".replace("\0", "")[:300])
        else:
            return self._trouble(lane, batch, answer)
        self._adapt(lane, outcome)
        if outcome.delivered:
            self._results.put([Result(delivery, outcome, DELIVERED) for delivery in batch])
        else:
            self._results.put([self._result(delivery, outcome, target) for delivery in batch])
        return None

    def _set_aside(self, batch: list[Delivery], too_old: datetime, now: datetime) -> None:
        """Take out of `batch` what is not to be tried: its time to live has passed."""
        expired = [delivery for delivery in batch if delivery.since <= too_old]
        if expired:
            batch[:] = [delivery for delivery in batch if delivery.since > too_old]
            late = Dead("TimeToLiveExceeded")
            self._results.put([Result(delivery, Outcome(now, *_NOT_TRIED), late) for delivery in expired])

    def _pop(self, lane: Lane, count: int) -> list[Delivery]:
        self._waiting -= count
        return [lane.waiting.popleft() for _ in range(count)]

    def _note(self, lane: Lane, *, slow: bool, rate_per_minute: int | None) -> None:
        """What the endpoint takes says how much of memory is for it. The rest goes into the database, and comes back
        when that is through."""
        if slow is not lane.slow:
            lane.slow = slow
            self._slow_under_way += lane.asked if slow else -lane.asked
            if not slow:
                self._let_in()
        before, lane.most = lane.most, LANE_LIMIT
        if slow or rate_per_minute is not None:
            ours = 0 if slow else (rate_per_minute or 0) // self._events.share()
            lane.most = min(lane.most, max(_SLOW_KEPT, ours // 2))
        over = len(lane.waiting) - lane.most
        if over > 0 and lane.most < before:  # not what was claimed since: it would go to and fro
            self._waiting -= over
            self._put_off([lane.waiting.pop() for _ in range(over)], timedelta(0))

    def _adapt(self, lane: Lane, outcome: Outcome) -> None:
        if outcome.status is None or outcome.status >= 500 or outcome.status == 429:
            lane.width = max(lane.width // 2, _NARROWEST)
        elif lane.width < _WIDEST:
            lane.width += 1

    def _result(self, delivery: Delivery, outcome: Outcome, target: Target) -> Result:
        ruling = verdict(delivery, outcome, target.subscription.settings)
        if isinstance(ruling, Dead):
            self._tell_of_dead(delivery, target, ruling.reason, outcome.at)
        return Result(delivery, outcome, ruling)

    def _tell_of_dead(self, delivery: Delivery, target: Target, reason: str, now: datetime) -> None:
        """An endpoint that answers 401 has thousands a second; all of them are in the list of dead letters."""
        count = self._told.due((delivery.subscription, reason), now.timestamp())
        if count:
            event_id, name = str(delivery.event.event_id), target.subscription.name
            log.warning("events.dead_letter", event_id=event_id, subscription=name, reason=reason, count=count)

    def _put_off(self, batch: Sequence[Delivery], by: timedelta) -> None:
        now = self._events.clock.now()
        self._results.put([Result(d, Outcome(now, *_NOT_TRIED), Again(now + by)) for d in batch])

    async def _discard(self, batch: Sequence[Delivery]) -> None:
        await records.discard(self._events.database, batch)
        now = self._events.clock.now()
        self._results.put([Result(d, Outcome(now, *_NOT_TRIED), Gone()) for d in batch])
