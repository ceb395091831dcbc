"""How fast one bind may submit: a fixed rate if there is one, and the slower one that an SMSC's throttling teaches.

An SMSC that answers ESME_RTHROTTLED or ESME_RMSGQFUL is left alone for a pause, then served at 70 % of what it was
given before, which grows by a tenth every second without complaint, until nothing limits it again.
"""

_SLOWER = 0.7
_GROWTH_PER_S = 1.1
_BURST_S = 0.1


class Pace:
    """Ask `allowance`, send that many at most, tell `sent`; tell `throttled` for each such answer."""

    def __init__(
        self, now: float, *, rate_per_s: float | None = None, pause_s: float = 1.0, burst_s: float = _BURST_S
    ) -> None:
        """`burst_s`: how much of a second's messages may be sent at once."""
        self._fixed = rate_per_s
        self._pause_s = pause_s
        self._learnt: float | None = None
        self._highest = 0.0
        self._paused_until = now
        self._burst_s = burst_s
        self._tokens = max((rate_per_s or 0.0) * burst_s, 1.0)
        self._filled_at = self._grown_at = self._counted_at = now
        self._slowed_at = now - 1.0
        self._count = 0
        self._recent = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """The rate in force; None when there is none."""
        rates = [rate for rate in (self._fixed, self._learnt) if rate is not None]
        return min(rates, default=None)

    def allowance(self, now: float) -> int | None:
        """How many messages may be sent now; None for as many as one likes."""
        if self._fixed is None and self._learnt is None:
            return None
        if now < self._paused_until:
            return 0
        self._grow(now)
        rate = self.rate_per_s
        if rate is None:
            return None
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, max(rate * self._burst_s, 1.0))
        self._filled_at = now
        return int(self._tokens)

    def limit(self, rate_per_s: float) -> None:
        """The fixed rate is another from now on."""
        self._fixed = rate_per_s

    def shared(self, count: int, now: float) -> None:
        """`count` messages were sent by others who have the same rate. What they overdrew is made up for, but for no
        longer than it takes to fill an empty burst: their news may come late and all at once."""
        if self.allowance(now) is not None and self.rate_per_s is not None:
            self._tokens = max(self._tokens - count, min(-self.rate_per_s * self._burst_s, -1.0))

    def sent(self, count: int, now: float) -> None:
        """`count` messages were sent."""
        self._tokens -= count
        if now - self._counted_at >= 1.0:
            self._recent = self._count / (now - self._counted_at)
            self._counted_at, self._count = now, 0
        self._count += count

    def throttled(self, now: float) -> None:
        """The SMSC asked for patience: a pause, and a slower rate at most once a second."""
        if now < self._paused_until:
            return
        self._paused_until = now + self._pause_s
        self._filled_at = self._paused_until
        self._tokens = 1.0
        if now < self._slowed_at + 1.0:
            return  # what was learnt a moment ago has not shown its effect yet
        self._slowed_at = now
        elapsed = max(now - self._counted_at, 1.0)
        measured = max(self._recent, self._count / elapsed)
        given = measured if self._learnt is None else min(self._learnt, measured or self._learnt)
        self._highest = max(self._highest, given)
        self._learnt = max(given * _SLOWER, 1.0)
        self._grown_at = self._paused_until

    def resumes_at(self, now: float) -> float | None:
        """When `allowance` becomes positive again, if it is not now."""
        allowance = self.allowance(now)
        if allowance is None or allowance > 0:
            return None
        rate = self.rate_per_s or 1.0
        # A little late rather than early: waking at the very instant may find 0.9999 of a token.
        return max(self._paused_until, self._filled_at + (1.0 - self._tokens) / rate) + 0.0005

    def _grow(self, now: float) -> None:
        if self._learnt is None:
            return
        seconds = now - self._grown_at
        if seconds >= 1.0:
            grown = self._learnt = self._learnt * _GROWTH_PER_S ** min(seconds, 100.0)
            self._grown_at = now
            if grown > 2 * max(self._highest, 1.0):
                self._learnt, self._highest = None, 0.0
