"""The guard against SMS pumping: which recipients of a request are not sent to, and how many were blocked by what."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from landline.core.forward_time import ForwardTime
from landline.core.ids import ResourceId
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.services.sms.guard_caps import Allowances
from landline.services.sms.guard_news import GuardNews
from landline.services.sms.model import guard as model
from landline.services.sms.model.caps import Needs
from landline.services.sms.model.guard import Country, Rule, Rules, Sent, Verdict, Watch
from landline.services.sms.model.settings import Caps, SmsSettings
from landline.store.database import Database

_WATCHED = 10_000
"""Resources that are remembered at once, at most."""
_PARTS = 2
"""One resource takes at most the memory by this."""
_UNORDERED_S = 30.0
"""Requests are judged by the instants they came at; some wait for the database in between."""


@dataclass(slots=True)
class _Watched:
    watch: Watch
    settings: SmsSettings | None = None
    """None: only other processes sent for it so far."""
    share: int = 0
    rules: Rules | None = None


class Guard:
    """One process's guard. `share` tells how many processes take requests, `country` where a number belongs. Over the
    `bus` guards count what the others let pass; one that is not heard keeps its equal part of the velocity limits.

    What it remembers takes about `memory_bytes` at most. A resource has half of that and forgets the older half of
    what it sent beyond it; when all is taken, the resource that was quiet longest is forgotten. Velocity and sequences
    then see less of the past and block less. Caps forget nothing.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        country: Country,
        share: Callable[[], int],
        memory_bytes: int = 32 * 1024 * 1024,
        bus: Bus | None = None,
        currency: str = "USD",
    ) -> None:
        self._clock = clock
        self._news = None if bus is None else GuardNews(bus, self._heard, self._heard_undone)
        self._country = country
        self._share = share
        self._memory_bytes = memory_bytes
        self._allowances = Allowances(database, clock, share, currency)
        self._watched: OrderedDict[ResourceId, _Watched] = OrderedDict()
        self._forward = ForwardTime(unordered_s=_UNORDERED_S)
        self._size_bytes = 0
        self._blocked = dict.fromkeys(Rule, 0)

    async def start(self) -> None:
        """Count what other processes let pass, too."""
        if self._news is not None:
            await self._news.start()

    async def decide(
        self,
        resource: ResourceId,
        recipients: Sequence[str],
        segments: int,
        settings: SmsSettings,
        now: datetime,
        costs: Sequence[int] | None = None,
    ) -> list[Verdict | None]:
        """A verdict for each recipient (E.164) of a text of `segments`: what `judge` says, once part of the caps is in
        hand. `costs`: what each would cost, in millionths; None when there are no prices. Raises `Unavailable` when
        the database has to be asked and is away; nothing is counted then."""
        needs = _needs(settings.caps, len(recipients), segments, costs)
        if needs is not None:
            await self._allowances.prepare(resource, settings.caps, needs, now)
        return self.judge(resource, recipients, settings, now, needs)

    def undo(
        self,
        resource: ResourceId,
        places: Sequence[int],
        recipients: Sequence[str],
        segments: int,
        settings: SmsSettings,
        now: datetime,
        costs: Sequence[int] | None = None,
    ) -> None:
        """The `recipients` at these `places`, all of which `decide` let pass at `now`, came to no new text: a request
        was repeated, or nothing of it could be written. They count for nothing, here and in the other processes."""
        recipients = [recipients[place] for place in places]
        costs = None if costs is None else [costs[place] for place in places]
        watched = self._watched.get(resource)
        if watched is not None and watched.rules is not None:
            before_bytes = watched.watch.size_bytes
            watched.watch.undo(recipients, watched.rules, self._forward.read(now.timestamp()))
            self._grown(watched.watch.size_bytes - before_bytes)
            if self._news is not None and self._news.together and watched.rules.by_recipient:
                self._news.undo(resource, recipients, watched.rules)
        needs = _needs(settings.caps, len(recipients), segments, costs)
        if needs is not None:
            self._allowances.put_back(resource, settings.caps, needs, now)

    def judge(
        self,
        resource: ResourceId,
        recipients: Sequence[str],
        settings: SmsSettings,
        now: datetime,
        needs: Needs | None = None,
    ) -> list[Verdict | None]:
        """A verdict for each recipient (E.164), in order; None: send it, it is counted.

        With caps (`needs`), to be called in one go with the `prepare` of `decide`.
        """
        watched = self._watching(resource, now)
        together = self._news is not None and self._news.together
        share = 1 if together else self._share()
        rules = watched.rules
        if rules is None or watched.settings is not settings or watched.share != share:
            watched.settings, watched.share = settings, share
            rules = watched.rules = model.rules(settings, share)
        before_bytes = watched.watch.size_bytes
        budget = None if needs is None else self._allowances.budget(resource, needs)
        verdicts = watched.watch.judge(recipients, rules, self._forward.read(now.timestamp()), self._country, budget)
        if verdicts.count(None) < len(verdicts):
            for verdict in verdicts:
                if verdict is not None:
                    self._blocked[verdict.rule] += 1
        self._grown(watched.watch.size_bytes - before_bytes)
        if together and rules.by_recipient and self._news is not None:
            self._news.tell(resource, recipients, verdicts, rules)
        return verdicts

    def counters(self) -> dict[str, int]:
        """Recipients blocked since the start, by rule."""
        return {rule.value: count for rule, count in self._blocked.items()}

    @property
    def size_bytes(self) -> int:
        """What is remembered takes, roughly."""
        return self._size_bytes

    async def run(self) -> None:
        """Give back the parts of caps that are not being used, for ever."""
        await self._allowances.run()

    async def close(self) -> None:
        """Give back the parts of caps in hand. After it nothing is decided any more."""
        if self._news is not None:
            self._news.close()
        await self._allowances.close()

    def _heard(self, resource: ResourceId, elsewhere: Sent) -> None:
        now = self._clock.now()
        watch = self._watching(resource, now).watch
        before_bytes = watch.size_bytes
        watch.heard(elsewhere, self._forward.read(now.timestamp()))
        self._grown(watch.size_bytes - before_bytes)

    def _heard_undone(self, resource: ResourceId, elsewhere: Sent) -> None:
        watched = self._watched.get(resource)
        if watched is not None:
            before_bytes = watched.watch.size_bytes
            watched.watch.undone(elsewhere)
            self._grown(watched.watch.size_bytes - before_bytes)

    def _watching(self, resource: ResourceId, now: datetime) -> _Watched:
        watched = self._watched.get(resource)
        if watched is None:
            if len(self._watched) >= _WATCHED:
                self._forget_quietest()
            watch = Watch(self._forward.read(now.timestamp()), self._memory_bytes // _PARTS)
            watched = self._watched[resource] = _Watched(watch)
        else:
            self._watched.move_to_end(resource)
        return watched

    def _grown(self, by_bytes: int) -> None:
        self._size_bytes += by_bytes
        while self._size_bytes > self._memory_bytes and len(self._watched) > 1:
            self._forget_quietest()

    def _forget_quietest(self) -> None:
        _, gone = self._watched.popitem(last=False)
        self._size_bytes -= gone.watch.size_bytes


def _needs(caps: Caps, messages: int, segments: int, costs: Sequence[int] | None) -> Needs | None:
    """What so many texts take of the caps; None when there are none."""
    if caps.per_day is None and caps.per_month is None and (costs is None or not caps.limits_spend):
        return None
    return Needs(messages, segments if caps.unit == "segments" else 1, costs or [0] * messages)
