"""Time for what counts in memory how much was done lately: it goes on when the clock is set back."""


class Onward:
    """Reads a clock's instants, in seconds. One that is set back by an hour would have a minute's limits last an hour:
    what is read then goes on from where it was, and counts from there."""

    __slots__ = ("_ahead", "_last", "_unordered_s")

    def __init__(self, *, unordered_s: float = 1.0) -> None:
        """`unordered_s`: by how much instants may be older than others that were read before, without meaning that the
        clock was set."""
        self._unordered_s = unordered_s
        self._ahead = 0.0
        self._last = float("-inf")

    def read(self, now: float) -> float:
        """The instant that stands for `now`."""
        at = now + self._ahead
        if at < self._last - self._unordered_s:
            self._ahead, at = self._last - now, self._last
        self._last = max(self._last, at)
        return at
