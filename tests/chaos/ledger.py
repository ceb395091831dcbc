"""What the parties of a run saw, each with its own eyes: what the judge goes by."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Key = tuple[str, str]
"""(token, recipient): one message."""


@dataclass
class Asked:
    """A message as its sender knows it."""

    token: str
    to: str
    kind: str
    """http, sdk, batch, long, pool, scheduled, customer, passing, optout; of the office turns, thrift, erased."""
    began: float
    sender: str
    acked: float | None = None
    message_id: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    """When its validity ends."""
    tag: str | None = None
    blocked: bool | None = None
    """Whether it must be blocked as opted out, must not be, or either."""
    canceled: float | None = None
    """When its cancellation was acknowledged."""
    parts: int = 1
    receipts: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """A customer's: when, and what state."""


@dataclass
class Texted:
    """A text from a phone."""

    token: str
    sender: str
    recipient: str
    words: str
    smsc: str
    at: float
    acked: float | None = None
    keyword: bool = False


@dataclass
class Posted:
    """An event as the webhook took it."""

    at: float
    event_id: str
    type: str
    data: dict[str, Any]


@dataclass
class Held:
    """A fault that lasted."""

    what: str
    since: float
    until: float = math.inf

    @property
    def stalls(self) -> bool:
        """Whether what is on its way stays there meanwhile."""
        return any(word in self.what for word in ("SIGSTOP", "silent", "cut off", "slow", "too late"))


@dataclass
class Halt:
    """Of a tag or a sender: from the answer until it was asked to go on; `over` when that was answered."""

    what: str
    since: float
    until: float = math.inf
    over: float = math.inf


@dataclass
class Ledger:
    """See the module."""

    asked: dict[Key, Asked] = field(default_factory=dict[Key, Asked])
    texted: dict[str, Texted] = field(default_factory=dict[str, Texted])
    posted: dict[str, list[Posted]] = field(default_factory=lambda: defaultdict[str, list[Posted]](list))
    """By webhook."""
    heard: dict[str, list[float]] = field(default_factory=lambda: defaultdict[str, list[float]](list))
    """Tokens of phones' texts that the customer got."""
    journals: dict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict[str, list[list[Any]]](list))
    """What each SMSC wrote down."""
    faults: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    halts: list[Halt] = field(default_factory=list[Halt])
    held: list[Held] = field(default_factory=list[Held])
    troubles: list[str] = field(default_factory=list[str])
    """What the parties found wrong by themselves."""
    refusals: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    _tokens: "count[int]" = field(default_factory=count)

    def token(self, letter: str) -> str:
        """A new one."""
        return f"{letter}{next(self._tokens):06d}"

    def stalled(self, since: float, until: float) -> bool:
        """Whether anything stood still for a part of that time, so that what was written may have arrived that much
        later."""
        return any(each.stalls and each.since <= until and each.until >= since for each in self.held)

    def fault(self, what: str) -> None:
        self.faults.append((time.time(), what))
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
