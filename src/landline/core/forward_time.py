"""Time for limits on how much was done lately, which are counted in memory: it goes on when the clock is set back."""


class ForwardTime:
    """A clock's instants, in seconds, without the steps back of one that is set. By itself a clock that is set back by
    an hour would make the limit of a minute last an hour: after such a step time goes on from the last instant read."""

    __slots__ = ("_ahead", "_last", "_unordered_s")

    def __init__(self, *, unordered_s: float = 1.0) -> None:
        """`unordered_s`: an instant may be older than one that was read before by so much, because they were taken in
        another order than they are read in; only by more does it mean that the clock was set."""
        self._unordered_s = unordered_s
        self._ahead = 0.0
        self._last = float("-inf")

    def read(self, now: float) -> float:
        """The instant to count with when the clock says `now`."""
        at = now + self._ahead
        if at < self._last - self._unordered_s:
            self._ahead, at = self._last - now, self._last
        self._last = max(self._last, at)
        return at
