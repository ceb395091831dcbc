"""kill -9 of every process of a gateway under load, and what came of the messages it had acknowledged.

The SMSC answers slowly, so that a queue stands behind a full window. After the kill it answers at once, and keeps the
receipts of what it had taken until the gateway is bound again, as SMSCs do.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.gateway import messages, smsc
from bench.gateway.figures import Figure, Figures, at_most
from bench.gateway.gateways import Gateway
from bench.gateway.rig import Rig
from bench.load import saturate

CONNECTIONS = 64
_REQUESTS = 20_000
_SLOW_S = 0.2
"""With the window of 200: at most 1,000 msg/s."""
_KILL_AFTER = 1_000
"""Messages the SMSC has taken when the gateway is killed."""
_PATIENCE_S = 25.0
_LOAD_S = 60.0


def run(rig: Rig, gateway: Gateway, figures: Figures, name: str, *, at_most_once: bool = False) -> None:
    """Kill `gateway`, start it again, wait until nothing more happens, count. `name` is whose figures these are."""
    rig.warm(gateway)
    rig.conduct(response_delay_s=_SLOW_S)
    first = rig.take(_REQUESTS)
    load = gateway.load(first, _REQUESTS, 1)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(saturate, gateway.target, load, connections=CONNECTIONS, seconds=_LOAD_S)
        deadline = time.monotonic() + _LOAD_S
        while rig.smsc.ask("count") < _KILL_AFTER and time.monotonic() < deadline:
            time.sleep(0.005)
        gateway.kill()
        outcome = running.result()
    submitted = rig.smsc.ask("count")
    rig.conduct(response_delay_s=0.0)
    began = time.monotonic()
    gateway.restart()
    restart_s = time.monotonic() - began
    rig.settle(_REQUESTS, patience_s=_PATIENCE_S)
    accepted = [messages.number(first + index) for index in outcome.taken]
    submits, reports, failed = rig.smsc.ask("submits"), rig.reports(), rig.webhook.ask("failed")
    unsent = [number for number in accepted if number not in submits]
    lost = sum(1 for number in unsent if number not in failed)
    missing = sum(1 for number in accepted if number not in reports)
    doubles = sum(submits.values()) - len(submits)
    twice = sum(reports.values()) - len(reports)
    contradicted = sum(1 for number, count in failed.items() if count < reports[number])
    said = f"{CONNECTIONS} connections, window {smsc.WINDOW}, SMSC answers after {_SLOW_S} s, every process killed"

    def add(what: str, value: float, limit: float | None = None) -> None:
        aim = at_most(limit) if limit is not None else None
        figures.add(Figure(f"kill -9: {what}", "messages", said, aim=aim), name, value)

    add("lost", lost, 0)
    add("reports missing", missing, 0)
    add("submitted twice", doubles, 0 if at_most_once else smsc.WINDOW)
    add("reported twice", twice)
    print(
        f"  acknowledged {len(accepted):,}; the SMSC had taken {submitted:,} when it was killed; not sent and said so "
        f"{len(unsent) - lost:,}; reported as failed {len(failed):,} "
        f"(as delivered too: {contradicted:,}); serving and bound again after {restart_s:.1f} s",
        flush=True,
    )
