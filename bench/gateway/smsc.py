"""The SMSC both gateways submit to: the project's own, which notes which message came when."""

import time
from collections import Counter
from typing import Any

from bench.gateway import messages
from bench.gateway.party import Answers, Party

from landline.protocols.smpp.pdu import ShortMessage
from landline.testing.smsc import Smsc

SYSTEM_ID, PASSWORD = "bench", "bench"
WINDOW = 200
"""deliver_sm unanswered on each bind."""


class Noting(Smsc):
    """Every message goes to a number of its own, so that number tells it from all others."""

    def __init__(self) -> None:
        super().__init__({SYSTEM_ID: PASSWORD}, keep=1, window=WINDOW)
        self.numbers: list[str] = []
        self.times: list[float] = []

    def remember(self, system_id: str, message_id: str, message: ShortMessage) -> None:
        self.numbers.append(message.destination_addr)
        self.times.append(time.perf_counter())

    def answers(self) -> Answers:
        """What the rig asks."""
        return {
            "port": lambda: self.port,
            "conduct": self._set_conduct,
            "forget": self._forget,
            "bound": lambda: self.bound(SYSTEM_ID),
            "count": lambda: len(self.numbers),
            "submits": lambda: Counter(number.lstrip("+") for number in self.numbers),
            "first": self._first,
            "last_s": lambda: self.times[-1] if self.times else 0.0,
            "say": self._say,
            "acknowledged": lambda: self.counts.delivered,
        }

    def _say(self, first: int, count: int, recipient: str, words: str) -> float:
        """Have `count` phones text `recipient` at once; when they began, on the clock of `time.perf_counter`."""
        began = time.perf_counter()
        for number in messages.numbers(first, count):
            self.text(f"+{number}", recipient, words)
        return began

    def _set_conduct(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(self.conduct, name, value)

    def _forget(self) -> None:
        self.numbers.clear()
        self.times.clear()

    def _first(self) -> dict[str, float]:
        """When each message was seen first, on the clock of `time.perf_counter` (one for all processes)."""
        found: dict[str, float] = {}
        for number, at in zip(self.numbers, self.times, strict=True):
            found.setdefault(number.lstrip("+"), at)
        return found


async def start() -> Answers:
    """Listen on a free port of loopback."""
    smsc = Noting()
    await smsc.start()
    return smsc.answers()


def party() -> Party:
    """The SMSC in a process of its own."""
    return Party(start)
