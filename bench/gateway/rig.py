"""The rig around a gateway under test: the SMSC it submits to and the webhook it reports to, each a process."""

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.gateway import messages, sink, smsc, usage
from bench.gateway.gateways import Gateway
from bench.gateway.party import Party
from bench.load import saturate

_LOOK_EVERY_S = 0.1
_WARMING = 200
"""Requests before a measurement: caches filled, connections made, code paths run once."""
_WARMED_S = 30.0
_UNWARMED_S = 5.0
_WARMINGS = 3


@dataclass
class Rig:
    """`receipt_delay_s`: how long after its answer the SMSC sends the receipt of a message."""

    smsc: Party
    webhook: Party
    receipt_delay_s: float
    used: int = 0
    """Messages sent so far: no number is used twice."""

    def take(self, count: int) -> int:
        """Numbers for `count` messages; the index of the first."""
        first = self.used
        self.used += count
        assert self.used <= messages.NUMBERS
        return first

    def conduct(self, **changes: object) -> None:
        """Change how the SMSC conducts itself."""
        self.smsc.ask("conduct", changes)

    def forget(self) -> None:
        """Begin to count anew at both ends."""
        self.smsc.ask("forget")
        self.webhook.ask("forget")

    def warm(self, gateway: Gateway) -> None:
        """Let some messages through; then count anew. Raises `RuntimeError` when not all of them come through, which is
        said the first time and tried again: a gateway just started may still close connections."""
        for attempt in range(_WARMINGS):
            self.forget()
            self.conduct(response_delay_s=0.0, receipt_delay_s=self.receipt_delay_s)
            load = gateway.load(self.take(_WARMING), _WARMING, 1)
            outcome = saturate(gateway.target, load, connections=8, seconds=_WARMED_S)
            reported = self.settle(_WARMING, patience_s=_UNWARMED_S)
            self.forget()
            if reported == _WARMING:
                return
            failures = dict(outcome.failures)
            print(
                f"{gateway.name}: warming {attempt + 1}: {reported} of {_WARMING} came through; {failures}", flush=True
            )
        raise RuntimeError(f"{gateway.name} does not work")

    def settle(self, expected: int, *, patience_s: float) -> int:
        """Wait until `expected` reports have come, or nothing has happened at either end for `patience_s`; how many."""
        seen, since = (-1, -1), time.perf_counter()
        while True:
            now = (self.webhook.ask("count"), self.smsc.ask("count"))
            if now[0] >= expected:
                return now[0]
            if now != seen:
                seen, since = now, time.perf_counter()
            elif time.perf_counter() - since > patience_s:
                return now[0]
            time.sleep(_LOOK_EVERY_S)

    def reports(self) -> Counter[str]:
        """How often each message was reported, by number."""
        return self.webhook.ask("reports")

    def cpu_s(self, gateway: Gateway) -> dict[str, float]:
        """Processor time used so far, by party."""
        counted = {part: usage.cpu_s(pids) for part, pids in gateway.pids().items()}
        return {**counted, "smsc": usage.cpu_s([self.smsc.pid]), "webhook": usage.cpu_s([self.webhook.pid])}


@contextmanager
def rig(receipt_delay_s: float) -> Generator[Rig]:
    """A rig, ended afterwards."""
    parties: list[Party] = []
    try:
        parties.append(smsc.party())
        parties.append(sink.party())
        yield Rig(parties[0], parties[1], receipt_delay_s)
    finally:
        for party in parties:
            party.close()
