"""What does a request cost the connection itself? `HttpConnection` alone, on a transport that keeps nothing, before an
application that answers at once: CPU time a request of this tree and of another one, in alternating processes.

    python -m bench.edge_connection --against /path/to/another/worktree
"""

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, cast

from bench import machine

HEAD = (
    "POST /sms?api-version=2021-03-07 HTTP/1.1\r\nhost: localhost:8443\r\nuser-agent: azsdk-python-sms\r\n"
    "accept: application/json\r\naccept-encoding: gzip, deflate\r\nconnection: keep-alive\r\n"
    "content-type: application/json\r\nx-ms-date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
    "x-ms-content-sha256: pqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq=\r\n"
    "authorization: HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=qqqqqqqqqqqqqqqqqqqqqq=\r\n"
)
CASES = {"whole": (400, 1), "head, then body": (400, 2), "16 KiB in 4 pieces": (16_384, 5), "256 KiB": (262_144, 9)}
"""Bytes of the body, and the pieces that head and body come in."""
REQUESTS = 6000
ROUNDS = 11


class Sink:
    """A transport whose client reads at once."""

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool:
        return False


def pieces(size: int, count: int) -> list[bytes]:
    """A request with a body of `size` bytes: in one piece, or its head and then its body in the others."""
    head, body = f"{HEAD}content-length: {size}\r\n\r\n".encode(), b"x" * size
    if count == 1:
        return [head + body]
    step = -(-size // (count - 1))
    return [head, *(body[at : at + step] for at in range(0, size, step))]


async def measure() -> dict[str, float]:
    """Microseconds of CPU a request, by case, of the tree on PYTHONPATH."""
    from prometheus_client.registry import CollectorRegistry

    from landline.edge.app import Edge
    from landline.edge.connection import HttpConnection
    from landline.edge.gate import Gate
    from landline.edge.http import Request, Response
    from landline.edge.metrics import RequestMetrics
    from landline.edge.routes import Access, Route
    from landline.edge.server import Open

    async def handler(_request: Request) -> Response:
        return Response(202, b'{"value":[]}')

    route = Route("POST", "/sms", handler, access=Access.NONE, versioned=False)
    app = Edge([route], Gate(), metrics=RequestMetrics(CollectorRegistry()), log_every=1_000_000)
    connection = HttpConnection(app, Open(), cast(Any, None), asyncio.get_running_loop())
    connection.connection_made(cast(Any, Sink()))
    taken: dict[str, float] = {}
    for name, (size, count) in CASES.items():
        data, requests = pieces(size, count), REQUESTS // (1 if size < 100_000 else 10)
        for warm in (True, False):
            begun = process_time()
            for _ in range(requests // 10 if warm else requests):
                for piece in data:
                    connection.data_received(piece)
                await asyncio.sleep(0)  # the task that answers runs through
            taken[name] = (process_time() - begun) / requests * 1e6
    return taken


def run(tree: Path) -> dict[str, float]:
    """One process's figures of `tree`."""
    env = {**os.environ, "PYTHONPATH": f"{tree / 'src'}:{machine.ROOT}"}
    command = [sys.executable, "-m", "bench.edge_connection", "--alone"]
    told = subprocess.run(command, env=env, cwd=machine.ROOT, capture_output=True, text=True, check=True).stdout
    return {name: float(value) for name, value in (line.rsplit("\t", 1) for line in told.splitlines())}


def main() -> None:
    """Compare, or with `--alone` print the figures of the tree on PYTHONPATH."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, default=machine.ROOT)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    if given.alone:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for name, value in runner.run(measure()).items():
                print(f"{name}\t{value}")
        return
    machine.header(f"What does a request cost the connection? (beside {given.against.name})")
    runs = [(run(machine.ROOT), run(given.against)) for _ in range(ROUNDS)]
    for name in CASES:
        ours, theirs = ([round(pair[at][name], 2) for pair in runs] for at in (0, 1))
        print(f"{name}: {median(ours)} us, there {median(theirs)} us (medians of {ours} and {theirs})", flush=True)


if __name__ == "__main__":
    main()
