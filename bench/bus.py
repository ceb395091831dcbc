"""What a message over the bus costs, and how long it takes from one process to another: `python -m bench.bus`.

One process publishes, others listen, over a nats-server of our own. CPU is what counts on a shared machine.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time

import structlog
import uvloop

from landline.engines.nats.bus import NatsBus
from landline.engines.nats.server import NatsServer
from landline.engines.nats.settings import Settings, server

MESSAGES, BYTES, PINGS = 50_000, 1000, 500
_ROUND = 100


async def hear(url: str) -> None:
    """A process that listens: it sends back what comes on `ping`, and says at `end` what it heard."""
    bus, ended, count = NatsBus(Settings((server(url),))), asyncio.Event(), 0

    def heard(_data: bytes) -> None:
        nonlocal count
        count += 1

    await bus.start()
    await bus.subscribe("flow", heard)
    await bus.subscribe("ping", lambda data: bus.publish("pong", data))
    await bus.subscribe("end", lambda _data: ended.set())
    began = _cpu_s()
    print("ready", flush=True)
    await ended.wait()
    print(count, _cpu_s() - began, flush=True)
    await bus.close()


async def say() -> None:
    """Measure, and print."""
    nats = NatsServer()
    await nats.start()
    command = [sys.executable, "-m", "bench.bus", nats.url]
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    assert listener.stdout is not None
    await asyncio.to_thread(listener.stdout.readline)
    bus = NatsBus(Settings((server(nats.url),)))
    await bus.start()
    await _latency(bus)
    began, data = _cpu_s(), bytes(BYTES)
    for sent in range(0, MESSAGES, _ROUND):
        for _ in range(_ROUND):
            bus.publish("flow", data)
        while bus.figures.published < sent:  # noqa: ASYNC110 - so that nothing is dropped
            await asyncio.sleep(0.001)
    while bus.figures.published < MESSAGES:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    cost = _cpu_s() - began
    await asyncio.sleep(0.5)
    nats_s = _cpu_of(nats.pid or 0)
    bus.publish("end", b"")
    heard, took = (await asyncio.to_thread(listener.stdout.readline)).split()
    print(f"machine {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {MESSAGES} messages of {BYTES} bytes")
    print(f"published {cost / MESSAGES * 1e6:.1f} us CPU each, dropped {bus.dropped}")
    print(
        f"heard {heard}, {float(took) / int(heard) * 1e6:.1f} us CPU each; nats-server {nats_s / MESSAGES * 1e6:.1f} us"
    )
    await bus.close()
    listener.wait()
    await nats.close()


async def _latency(bus: NatsBus) -> None:
    came = asyncio.Event()
    await bus.subscribe("pong", lambda _data: came.set())
    took: list[float] = []
    for _ in range(PINGS):
        came.clear()
        began = time.perf_counter()
        bus.publish("ping", b"x")
        await came.wait()
        took.append((time.perf_counter() - began) / 2 * 1e3)
    took.sort()
    print(f"one way p50 {statistics.median(took):.2f} ms, p99 {took[int(len(took) * 0.99)]:.2f} ms")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(hear(sys.argv[1]) if len(sys.argv) > 1 else say())
