"""Whether this process stood still (SIGSTOP, a machine being moved) before what it reads now: that may have waited in
the connection for as long, and equal texts that seem to come at once may be one, brought again."""

import asyncio
from time import monotonic

LEAST_S = 4.0
"""What is shorter is not told: SMSCs wait longer for an answer."""
_BEAT_S = 1.0
_READ_FOR_S = 2.0
"""What is read so long after the process went on may have come before."""


class Standstill:
    """Beats from `begin` to `end`, and takes a beat that comes far too late for a stop of the whole process."""

    def __init__(self) -> None:
        self._beat_at = monotonic()
        self._since = 0.0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Of the running loop."""
        self._notice()
        self._beat_at = monotonic()
        self._timer = asyncio.get_running_loop().call_later(_BEAT_S, self.begin)

    def end(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()

    def seconds(self) -> float:
        """How long before this instant what is read now may have come, in seconds; 0 when that is not worth telling."""
        self._notice()  # what came is read before the beat that is due by now
        now = monotonic()
        return now - self._since if now < self._until else 0.0

    def _notice(self) -> None:
        now = monotonic()
        if now - self._beat_at >= LEAST_S:
            self._since, self._until = self._beat_at, now + _READ_FOR_S
            self._beat_at = now
