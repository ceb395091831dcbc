"""The whole cycle of a load through a gateway (HTTP accept, submit_sm, its answer, the receipt, the webhook), and how
long a message takes from its HTTP request to the SMSC."""

import time
from dataclasses import dataclass

from bench import machine
from bench.gateway import messages, usage
from bench.gateway.figures import Figure, Figures, at_least, at_most
from bench.gateway.gateways import Gateway
from bench.gateway.rig import Rig
from bench.load import Outcome, pace, saturate

CONNECTIONS = 64
_LONGEST_S = 300.0
_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How much load: `requests` of `recipients` each, over `CONNECTIONS`."""

    requests: int
    recipients: int

    @property
    def messages(self) -> int:
        return self.requests * self.recipients

    def load(self, extra: str) -> str:
        """In words."""
        each = "1 recipient" if self.recipients == 1 else f"{self.recipients} recipients"
        return f"{self.requests:,} requests of {each}, {CONNECTIONS} connections, {extra}"


def run(rig: Rig, gateway: Gateway, shape: Shape, figures: Figures, extra: str) -> None:
    """One load through `gateway`; `extra` says what its figures were taken with."""
    rig.warm(gateway)
    load = gateway.load(rig.take(shape.messages), shape.requests, shape.recipients)
    before, own = rig.cpu_s(gateway), time.process_time()
    machine, since = usage.machine_s(), time.perf_counter()
    outcome = saturate(gateway.target, load, connections=CONNECTIONS, seconds=_LONGEST_S)
    reported = rig.settle(outcome.accepted, patience_s=_PATIENCE_S)
    after, own = rig.cpu_s(gateway), time.process_time() - own
    cpu_ms = {part: (after[part] - before[part]) / outcome.accepted * 1000 for part in after}
    cpu_ms["generator"] = own / outcome.accepted * 1000
    seconds = rig.webhook.ask("last_s") - outcome.began
    took = time.perf_counter() - since  # longer than `seconds`: connecting is in it
    busy, waited = (now - then for now, then in zip(usage.machine_s(), machine, strict=True))
    others = busy - sum(cpu_ms.values()) * outcome.accepted / 1000
    many = shape.recipients > 1
    kind = f"of {shape.recipients}" if many else "single"
    said = shape.load(extra)

    def add(name: str, unit: str, value: float, **options: object) -> None:
        figures.add(Figure(f"{name}, {kind}", unit, said, **options), gateway.name, value)  # type: ignore[arg-type]

    add("full cycle", "msg/s", reported / seconds, aim=at_least(20_000 if many else 5_000), ratio_aim=at_least(3))
    aim = at_least(40_000) if many else None
    add("accepted", "recipients/s", outcome.accepted / outcome.seconds, aim=aim)
    add("CPU of the gateway", "ms/msg", cpu_ms["gateway"], digits=3, aim=at_most(0.2))
    if gateway.pids()["database"]:
        total = cpu_ms["gateway"] + cpu_ms["database"]
        add("CPU of the gateway and its PostgreSQL", "ms/msg", total, digits=3)
    resident = usage.resident_mib(gateway.pids()["gateway"])
    add("resident, without PostgreSQL", "MiB", resident, aim=at_most(143))
    _tell(rig, outcome, reported, shape, cpu_ms)
    print(f"  other programs kept {others / took:.2f} cores busy; {waited / took:.2f} cores waited for the disk")


def _tell(rig: Rig, outcome: Outcome, reported: int, shape: Shape, cpu_ms: dict[str, float]) -> None:
    """What must be known to trust the run: what went wrong, and what the other parties took of the machine."""
    counted, submits = rig.reports(), rig.smsc.ask("submits")
    beside = ", ".join(f"{part} {value:.3f}" for part, value in cpu_ms.items() if part != "gateway")
    failures = f"; FAILURES {dict(outcome.failures.most_common(3))}" if outcome.failures else ""
    print(
        f"  reports {reported:,} of {outcome.accepted:,} accepted of {shape.messages:,} in {rig.webhook.ask('posts'):,}"
        f" posts; submitted twice {sum(submits.values()) - len(submits):,}, reported twice "
        f"{sum(counted.values()) - len(counted):,}, reported as failed {len(rig.webhook.ask('failed')):,}; requests p50"
        f" {outcome.percentile_ms(50):.1f} p99 {outcome.percentile_ms(99):.1f} ms; CPU ms/msg: {beside}{failures}",
        flush=True,
    )


def latency(rig: Rig, gateway: Gateway, figures: Figures, *, rate_per_s: float, seconds: float) -> None:
    """From the instant a request was due to be sent to the submit_sm's arrival at the SMSC: more than the issue's 'HTTP
    accept to submit_sm', because the accepting itself is in it."""
    rig.warm(gateway)
    machine.settle_disk()
    count = int(rate_per_s * seconds)
    first = rig.take(count)
    outcome = pace(gateway.target, gateway.load(first, count, 1), rate_per_s=rate_per_s)
    rig.settle(outcome.accepted, patience_s=_PATIENCE_S)
    seen = rig.smsc.ask("first")
    waits = sorted(
        (seen[number] - outcome.began - index / rate_per_s) * 1000
        for index, number in enumerate(messages.numbers(first, count))
        if number in seen
    )
    said = f"{rate_per_s:g} requests/s of 1 recipient, {count:,} requests"

    def add(name: str, value: float, limit: float | None) -> None:
        aim = at_most(limit) if limit is not None else None
        figures.add(Figure(f"HTTP request to submit_sm, {name}", "ms", said, 1, aim), gateway.name, value)

    add("p50", waits[len(waits) // 2], 3)
    add("p99", waits[int(len(waits) * 0.99)], 10)
    add("longest", waits[-1], None)
    if len(waits) < count or outcome.failures:
        print(f"  {count - len(waits)} never came to the SMSC; FAILURES {dict(outcome.failures.most_common(3))}")
