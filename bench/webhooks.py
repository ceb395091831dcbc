"""What does an event cost on its way from `Events.emit` to the webhook, and a request of the callout engine by itself?

The deliverer is a process of its own, so is the webhook (a bare socket). Figures are CPU microseconds of the deliverer.
Run: python -m bench.webhooks [--rounds 5] [--events 4000] [--against ANOTHER_TREE]; with another source tree both are
measured in turn, round by round. The database is LANDLINE_TEST_DSN, or an embedded one.
"""

import argparse
import asyncio
import multiprocessing
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httptools
import trustme
import uvloop
from bench import machine

from landline.store.embedded import EmbeddedServer

CASES = ("callout", "callout-tls", "events", "events-two-subscriptions", "events-in-batches")
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\n" + (
    b"connection: keep-alive\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok"
)


class Hook(asyncio.Protocol):
    """A webhook that answers every request at once with headers as a common server's."""

    requests = 0

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        Hook.requests += 1
        self._transport.write(_ANSWER)


def hook(pipe: Pipe, folder: str) -> None:
    """The webhook's process: tells its two ports, then how many requests came whenever it is asked."""

    async def run() -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(tls)
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Hook, "127.0.0.1", 0, ssl=context) for context in (None, tls)]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(Hook.requests)

    uvloop.run(run())


class Deliverer:
    """The process that is measured, with the code of one source tree."""

    def __init__(self, tree: Path, dsn: str, folder: str, ports: list[int]) -> None:
        arguments = [dsn, f"{folder}/ca.pem", *map(str, ports)]
        environment = os.environ | {"PYTHONPATH": f"{tree / 'src'}:{machine.ROOT}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.webhooks_deliverer", *arguments],
            env=environment,
            cwd=machine.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said()

    def run(self, case: str, count: int) -> float:
        """CPU microseconds for each of `count`."""
        assert self._process.stdin is not None
        before = self._cpu_s()
        self._process.stdin.write(f"{case} {count}\n")
        self._process.stdin.flush()
        self._said()
        return (self._cpu_s() - before) / count * 1e6

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _said(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "done\n":
            raise SystemExit("the deliverer failed")

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(trees: list[Path], dsn: str, rounds: int, count: int) -> None:
    """Print every run and the medians."""
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.Process(target=hook, args=(theirs, folder), daemon=True)
        process.start()
        ports = ours.recv()
        deliverers = [Deliverer(tree, fresh(dsn), folder, ports) for tree in trees]
        for case in CASES:
            for each in deliverers:
                each.run(case, count // 4)
            runs: list[list[float]] = [[] for _ in trees]
            requests = [0 for _ in trees]
            for _ in range(rounds):
                for index, each in enumerate(deliverers):
                    ours.send(True)
                    before = ours.recv()
                    runs[index].append(each.run(case, count))
                    ours.send(True)
                    requests[index] += ours.recv() - before
            for tree, figures, asked in zip(trees, runs, requests, strict=True):
                told = " ".join(f"{figure:.1f}" for figure in figures)
                median = statistics.median(figures)
                print(f"{case:26} {tree.name:12} median {median:6.1f} us ({told}); {asked // rounds} requests a run")
        for each in deliverers:
            each.close()
        ours.send(False)
        process.join()


def fresh(dsn: str) -> str:
    """The DSN of a new database."""

    async def make() -> str:
        name = f"bench_{uuid4().hex}"
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return urlsplit(dsn)._replace(path=f"/{name}").geturl()

    return asyncio.new_event_loop().run_until_complete(make())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    trees = [given.against.resolve()] if given.against else []
    machine.header("what does an event cost on its way to a webhook?")
    dsn = os.environ.get("LANDLINE_TEST_DSN")
    if dsn:
        measure([*trees, machine.ROOT], dsn, given.rounds, given.events)
        return
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        server = EmbeddedServer(Path(folder))
        measure([*trees, machine.ROOT], runner.run(server.start()), given.rounds, given.events)
        runner.run(server.close())


if __name__ == "__main__":
    main()
