"""How many recipients does the server durably accept each second, in requests of 100 and of 1, and how fast is one?

Run `python -m bench.sms_accept [seconds]` from the repository. Everything after acceptance (the simulated carrier,
receipts, reports) runs at the same time on the same cores.
"""

import sys
from itertools import count

from bench import machine
from bench.load import Load, Target, pace, saturate, sms_requests

AT_MOST_PER_S = {100: 900, 1: 14_000}
CONNECTIONS = {100: 8, 1: 64}
PACED_PER_S = 50
_seeds = count()


def main(seconds: float = 8.0) -> None:
    """Print the figures, over TLS and without."""
    machine.header("How many recipients are accepted per second, and how fast?")
    for transport in (machine.TLS, machine.PLAIN):
        with machine.server_under_test(transport) as (server, target):
            before_mb = machine.memory_mb(server)
            paced(target, server.phone_number, transport, seconds=min(seconds, 5.0))
        for recipients in (1, 100):
            with machine.server_under_test(transport) as (server, target):
                saturated(target, server.phone_number, transport, recipients=recipients, seconds=seconds)
                said = f"right after it; {before_mb:.0f} MB when started"
                machine.result("memory without PostgreSQL", machine.memory_mb(server), "MB", said)


def paced(target: Target, sender: str, name: str, *, seconds: float) -> None:
    """Latency with time to spare."""
    requests = int(PACED_PER_S * seconds)
    outcome = pace(target, sms_load(target, sender, requests, 1), rate_per_s=PACED_PER_S)
    achieved = outcome.accepted / outcome.seconds
    machine.result("paced sends", achieved, "recipients/s", f"{name}, {PACED_PER_S} requests/s of 1 recipient", outcome)


def saturated(target: Target, sender: str, name: str, *, recipients: int, seconds: float) -> None:
    """Throughput, and latency at it."""
    load = sms_load(target, sender, int(AT_MOST_PER_S[recipients] * seconds), recipients)
    connections = CONNECTIONS[recipients]
    outcome = saturate(target, load, connections=connections, seconds=seconds)
    rate = outcome.requests / outcome.seconds
    said = f"{name}, {connections} connections, {recipients} recipients a request, {rate:,.0f} requests/s"
    machine.result("accepted", outcome.accepted / outcome.seconds, "recipients/s", said, outcome)


def sms_load(target: Target, sender: str, requests: int, recipients: int) -> Load:
    """So many requests, none like another or like those of an earlier load."""
    return Load(sms_requests(target, sender, requests, recipients, seed=next(_seeds)), 202, b'"successful":true')


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
