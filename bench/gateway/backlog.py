"""Memory over a million messages, and whether a million rows that wait slow the sending down."""

import time

from bench.gateway import usage
from bench.gateway.cycle import CONNECTIONS
from bench.gateway.figures import Figure, Figures, at_least
from bench.gateway.product import Landline
from bench.gateway.rig import Rig
from bench.load import saturate

_RECIPIENTS = 100
_PARTS = 10
_SLOW_S = 2.0
"""With the window of 200: 100 msg/s, so that nearly all that is accepted waits."""
_SMALL = 50_000
_MEASURED_S = 10.0
_PATIENCE_S = 60.0
_LONGEST_S = 900.0


def memory(rig: Rig, landline: Landline, figures: Figures, count: int) -> None:
    """Send `count` messages in parts, each part wholly reported before the next; the memory after each."""
    rig.warm(landline)
    requests = count // _PARTS // _RECIPIENTS
    seen: list[float] = []
    for part in range(_PARTS):
        rig.forget()
        load = landline.load(rig.take(requests * _RECIPIENTS), requests, _RECIPIENTS)
        outcome = saturate(landline.target, load, connections=CONNECTIONS, seconds=_LONGEST_S)
        reported = rig.settle(outcome.accepted, patience_s=_PATIENCE_S)
        rate = reported / (rig.webhook.ask("last_s") - outcome.began)
        seen.append(usage.resident_mib(landline.pids()["gateway"]))
        print(f"  {(part + 1) * requests * _RECIPIENTS:,} messages: {seen[-1]:.0f} MiB, {rate:,.0f} msg/s", flush=True)
    said = f"{count:,} messages in requests of {_RECIPIENTS}"
    for name, value in (("a tenth", seen[0]), ("half", seen[len(seen) // 2 - 1]), ("all", seen[-1])):
        figures.add(Figure(f"resident after {name}", "MiB", said), landline.name, value)


def drain(rig: Rig, landline: Landline, figures: Figures, rows: int) -> None:
    """The rate at which reports come out of a backlog: of `rows`, and of a small one."""
    small = _drained(rig, landline, _SMALL)
    large = _drained(rig, landline, rows)
    said = f"requests of {_RECIPIENTS} accepted while the SMSC answers after {_SLOW_S:g} s, then at once"
    figures.add(Figure(f"drain of {_SMALL:,} rows", "msg/s", said), landline.name, small)
    figures.add(Figure(f"drain of {rows:,} rows, its first {_MEASURED_S:g} s", "msg/s", said), landline.name, large)
    aim = at_least(0.8)
    figures.add(
        Figure("rate with the large backlog over the small one's", "", said, 2, aim), landline.name, large / small
    )


def _drained(rig: Rig, landline: Landline, rows: int) -> float:
    rig.warm(landline)
    rig.conduct(response_delay_s=_SLOW_S)
    load = landline.load(rig.take(rows), rows // _RECIPIENTS, _RECIPIENTS)
    outcome = saturate(landline.target, load, connections=CONNECTIONS, seconds=_LONGEST_S)
    waiting = outcome.accepted - rig.webhook.ask("count")
    began = time.perf_counter()
    rig.conduct(response_delay_s=0.0)
    before = rig.webhook.ask("count")
    deadline = began + _SLOW_S + _MEASURED_S
    while time.perf_counter() < deadline and rig.webhook.ask("count") < outcome.accepted:
        time.sleep(0.05)
    ended = min(time.perf_counter(), max(rig.webhook.ask("last_s"), began))
    rate = (rig.webhook.ask("count") - before) / (ended - began)
    accepted = outcome.accepted / outcome.seconds
    print(f"  {waiting:,} rows waited, accepted at {accepted:,.0f}/s; {rate:,.0f} msg/s came out", flush=True)
    reported = rig.settle(outcome.accepted, patience_s=_PATIENCE_S)
    print(f"  all {reported:,} of {outcome.accepted:,} reported after {rig.webhook.ask('last_s') - began:.1f} s")
    return rate
