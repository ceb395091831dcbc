"""Which texts are not sent because they look like SMS pumping: texts that somebody has others send to numbers he earns
by. Pure decisions on what one resource sent lately; the same calls in the same order decide the same."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from landline.services.sms.model.caps import SPEND, Budget, Purse
from landline.services.sms.model.settings import EVERY_COUNTRY, NO_COUNTRY, Rates, SmsSettings

FRAUD = 4000
UNSUPPORTED_DESTINATION = 4003
OVER_LIMIT = 4008
"""The codes of what is blocked (acs-wire.md 4.7)."""

DAY_S = 86_400.0
KEY_BYTES = 130
"""What a remembered number or prefix takes, roughly; measured with CPython 3.11."""
ARRAY_BYTES = 100
EVENT_BYTES = 8
_TRIM_EVERY = 64
_NEVER = float("-inf")

Country = Callable[[str], str]
"""The ISO 3166-1 code of an E.164 number's country, `ZZ` when its calling code is no country's."""


class Rule(Enum):
    """What blocked a text; the `reason` of `landline_sms_blocked_total`."""

    COUNTRY = "country"
    SEQUENCE = "sequence"
    RECIPIENT = "recipient"
    PREFIX = "prefix"
    CAP = "cap"
    SPEND = "spend"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a text is not sent: the code of its report (acs-wire.md 4.7), and a line for its timeline."""

    rule: Rule
    code: int
    reason: str


class Limit(NamedTuple):
    """At most so many messages within any `window_s` seconds. `words` say it as it was configured."""

    messages: int
    window_s: float
    words: str


@dataclass(frozen=True, slots=True)
class Rules:
    """A resource's settings as one process checks them."""

    countries: frozenset[str] | None
    """None: every one."""
    per_recipient: tuple[Limit, ...]
    per_prefix: tuple[Limit, ...]
    prefix_length: int
    """Characters of an E.164 number, its `+` among them."""
    run: int
    """0: sequences are not looked for."""
    run_window_s: float

    by_recipient: bool
    """Whether any rule needs to know who was sent to."""
    most_per_recipient: int
    most_per_prefix: int


def rules(settings: SmsSettings, share: int) -> Rules:
    """`settings` for one of `share` processes that do not hear of one another. Such a process keeps its equal part of
    the velocity limits, at least 1; a sequence it must see whole, since a part of one looks like any other traffic."""
    velocity, sequential = settings.velocity, settings.sequential
    every = EVERY_COUNTRY in settings.allowed_countries
    per_recipient = _limits(velocity.per_recipient, share) if velocity.enabled else ()
    per_prefix = _limits(velocity.per_prefix, share) if velocity.enabled else ()
    return Rules(
        countries=None if every else frozenset(settings.allowed_countries),
        per_recipient=per_recipient,
        per_prefix=per_prefix,
        prefix_length=1 + velocity.prefix_digits,
        run=sequential.run if sequential.enabled else 0,
        run_window_s=float(sequential.window_seconds),
        by_recipient=velocity.enabled or sequential.enabled,
        most_per_recipient=max((limit.messages for limit in per_recipient), default=1),
        most_per_prefix=max((limit.messages for limit in per_prefix), default=1),
    )


def _limits(rates: Rates, share: int) -> tuple[Limit, ...]:
    windows = ((rates.minute, 60.0, "minute"), (rates.hour, 3_600.0, "hour"), (rates.day, DAY_S, "day"))
    return tuple(Limit(max(1, count // share), window_s, f"{count} a {name}") for count, window_s, name in windows)


K = TypeVar("K", int, str)
Log: TypeAlias = "float | array[float]"
"""The instants a key was sent to: one, or all that limits look at, the last one last. If the last is below 0, that is
when the number was asked for and not sent to, which counts for sequences alone."""


class Memory(Generic[K]):
    """What was sent to each key in the last day at least, or as much of it as `most_bytes` hold. Keys are kept in two
    generations; to forget is to drop the older one, so that the younger half is always remembered."""

    __slots__ = ("_most_young_bytes", "_old", "_old_bytes", "_since", "_young", "_young_bytes")

    def __init__(self, now: float, most_bytes: int) -> None:
        self._most_young_bytes = most_bytes // 2
        self._young: dict[K, Log] = {}
        self._old: dict[K, Log] = {}
        self._young_bytes = 0
        self._old_bytes = 0
        self._since = now

    @property
    def size_bytes(self) -> int:
        """What it takes, roughly."""
        return self._young_bytes + self._old_bytes

    def age(self, now: float) -> None:
        """Forget what is more than a day old, now and then, or what there is no room for."""
        if now - self._since >= DAY_S or self._young_bytes >= self._most_young_bytes:
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
            self._since = now

    def last(self, key: K) -> float:
        """When `key` was last sent to or asked for; before all time when that was never."""
        log = self._young.get(key)
        if log is None:
            log = self._old.get(key)
            if log is None:
                return _NEVER
        return abs(log[-1] if isinstance(log, array) else log)

    def fetch(self, key: K) -> "Log | None":
        """What was sent to `key`, which is young again by this."""
        log = self._young.get(key)
        if log is None and self._old:
            log = self._old.pop(key, None)
            if log is not None:
                self._young[key] = log
                size = _size_bytes(log)
                self._young_bytes += size
                self._old_bytes -= size
        return log

    def add(self, key: K, log: "Log | None", now: float, most: int) -> None:
        """`key`, whose `fetch` gave `log`, is sent to. The last `most` instants are kept."""
        if log is None:
            self._young[key] = now
            self._young_bytes += KEY_BYTES
        elif isinstance(log, array):
            self._append(log, now)
            if len(log) % _TRIM_EVERY == 0:
                cut = max(bisect_right(log, now - DAY_S), len(log) - most)
                del log[:cut]
                self._young_bytes -= cut * EVENT_BYTES
        elif log < 0 or most <= 1:
            self._young[key] = now
        else:
            self._grow(key, log, now)

    def undo(self, key: K, at: float) -> None:
        """`key` was not sent to at `at` after all."""
        log = self._young.get(key)
        if isinstance(log, array) and len(log) > 1:
            if at in log:
                log.remove(at)
                self._young_bytes -= EVENT_BYTES
        elif log is not None and at == (log[0] if isinstance(log, array) else log):
            del self._young[key]
            self._young_bytes -= _size_bytes(log)

    def undo_last(self, key: K) -> None:
        """One time less was `key` sent to, whenever that was: the last."""
        log = self.fetch(key)
        if log is not None and (at := max(log) if isinstance(log, array) else log) > 0:
            self.undo(key, at)

    def mark(self, key: K, now: float) -> None:
        """`key` was asked for and not sent to."""
        log = self.fetch(key)
        if isinstance(log, array):
            self._append(log, -now)
        elif log is not None and log > 0:
            self._grow(key, log, -now)
        else:
            self._young[key] = -now
            self._young_bytes += KEY_BYTES if log is None else 0

    def _append(self, log: "array[float]", at: float) -> None:
        if log[-1] < 0:
            log[-1] = at
        else:
            log.append(at)
            self._young_bytes += EVENT_BYTES

    def _grow(self, key: K, log: float, at: float) -> None:
        grown = self._young[key] = array("d", (log, at))
        self._young_bytes += _size_bytes(grown) - KEY_BYTES


def _size_bytes(log: Log) -> int:
    return KEY_BYTES + ARRAY_BYTES + len(log) * EVENT_BYTES if isinstance(log, array) else KEY_BYTES


def exceeded(log: Log, limits: tuple[Limit, ...], now: float) -> Limit | None:
    """The limit that one more at `now` would be over."""
    if not isinstance(log, array):
        return next((limit for limit in limits if limit.messages == 1 and log > now - limit.window_s), None)
    size = len(log) - (log[-1] < 0)
    for limit in limits:
        if size >= limit.messages and log[size - limit.messages] > now - limit.window_s:
            return limit
    return None


class Sent(NamedTuple):
    """What a process let pass of one resource's texts, for the others to count as their own."""

    prefix_length: int
    """0: prefixes have no limit."""
    most_per_recipient: int
    most_per_prefix: int
    sent: list[int]
    asked: list[int]
    """Numbers that were blocked, which counts for sequences."""


class Watch:
    """What one resource sent lately, in about `most_bytes`; velocity and sequences see no further back. `now` is above
    0 and never goes back."""

    def __init__(self, now: float, most_bytes: int) -> None:
        self._recipients: Memory[int] = Memory(now, most_bytes * 3 // 4)
        self._prefixes: Memory[str] = Memory(now, most_bytes // 4)

    @property
    def size_bytes(self) -> int:
        """What it takes, roughly."""
        return self._recipients.size_bytes + self._prefixes.size_bytes

    def judge(
        self, recipients: Sequence[str], rules: Rules, now: float, country: Country, budget: Budget | None = None
    ) -> list[Verdict | None]:
        """A verdict for each recipient (E.164), None for those that are sent to, which are taken off the `budget`.

        Who is blocked counts for nothing but sequences, and for those only within their window.
        """
        if budget is None and rules.countries is None and not rules.by_recipient and not rules.per_prefix:
            return [None] * len(recipients)
        self._recipients.age(now)
        self._prefixes.age(now)
        verdicts: list[Verdict | None] = []
        for index, recipient in enumerate(recipients):
            verdict = _foreign(recipient, rules.countries, country) if rules.countries is not None else None
            if verdict is None:
                verdict = self._judge(recipient, rules, now, None if budget is None else budget.full(index))
                if budget is not None and verdict is None:
                    budget.take(index)
            verdicts.append(verdict)
        return verdicts

    def undo(self, recipients: Sequence[str], rules: Rules, at: float) -> None:
        """These were let pass at `at`, and then not sent to."""
        for recipient in recipients:
            if rules.by_recipient:
                self._recipients.undo(int(recipient), at)
            if rules.per_prefix:
                self._prefixes.undo(recipient[: rules.prefix_length], at)

    def heard(self, elsewhere: Sent, now: float) -> None:
        """Count what another process let pass."""
        recipients, prefixes = self._recipients, self._prefixes
        recipients.age(now)
        prefixes.age(now)
        for number in elsewhere.sent:
            recipients.add(number, recipients.fetch(number), now, elsewhere.most_per_recipient)
            if elsewhere.prefix_length:
                prefix = f"+{number}"[: elsewhere.prefix_length]
                prefixes.add(prefix, prefixes.fetch(prefix), now, elsewhere.most_per_prefix)
        for number in elsewhere.asked:
            recipients.mark(number, now)

    def undone(self, elsewhere: Sent) -> None:
        """Of what another process let pass, this was not sent after all."""
        for number in elsewhere.sent:
            self._recipients.undo_last(number)
            if elsewhere.prefix_length:
                self._prefixes.undo_last(f"+{number}"[: elsewhere.prefix_length])

    def _judge(self, recipient: str, rules: Rules, now: float, full: Purse | None) -> Verdict | None:
        number, prefix = int(recipient), recipient[: rules.prefix_length]
        seen = sent = None
        if rules.by_recipient:
            if rules.run and self._in_run(number, rules, now):
                self._recipients.mark(number, now)
                return _sequence(rules)
            seen = self._recipients.fetch(number)
            if seen is not None and (limit := exceeded(seen, rules.per_recipient, now)):
                return Verdict(Rule.RECIPIENT, OVER_LIMIT, f"the recipient's limit of {limit.words} is reached")
        if rules.per_prefix:
            sent = self._prefixes.fetch(prefix)
            if sent is not None and (limit := exceeded(sent, rules.per_prefix, now)):
                reason = f"the limit of {limit.words} to numbers that begin with {prefix} is reached"
                return Verdict(Rule.PREFIX, OVER_LIMIT, reason)
        if full is not None:
            rule = Rule.SPEND if full.unit == SPEND else Rule.CAP
            return Verdict(rule, OVER_LIMIT, f"the cap of {full.words} is reached")
        if rules.by_recipient:
            self._recipients.add(number, seen, now, rules.most_per_recipient)
        if rules.per_prefix:
            self._prefixes.add(prefix, sent, now, rules.most_per_prefix)
        return None

    def _in_run(self, number: int, rules: Rules, now: float) -> bool:
        last, since = self._recipients.last, now - rules.run_window_s
        found = 1
        for step in (-1, 1):
            neighbour = number + step
            while found < rules.run and last(neighbour) > since:
                found += 1
                neighbour += step
        return found >= rules.run


def _foreign(recipient: str, countries: frozenset[str], country: Country) -> Verdict | None:
    found = country(recipient)
    if found in countries:
        return None
    if found == NO_COUNTRY:
        return Verdict(Rule.COUNTRY, UNSUPPORTED_DESTINATION, "the number is in no country that is allowed")
    return Verdict(Rule.COUNTRY, UNSUPPORTED_DESTINATION, f"texts to the country {found} are not allowed")


def _sequence(rules: Rules) -> Verdict:
    reason = f"{rules.run} or more numbers in a row were asked for within {rules.run_window_s:.0f} seconds"
    return Verdict(Rule.SEQUENCE, FRAUD, reason)
