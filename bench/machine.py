"""What every result is printed with: the machine, the commit, the memory of the server; and the server itself."""

import os
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.load import Outcome, Target
from tests.support import processes

from landline.testing import Server

ROOT = Path(__file__).parent.parent
TLS, PLAIN = "TLS", "plain http"
_SETTLED_SYNCS, _SETTLED_S, _DISK_PATIENCE_S = 200, 0.005, 120.0


def header(question: str) -> None:
    """Print what is asked, of which commit, on which machine."""
    told = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    cores = sum(line.startswith("processor") for line in told)
    memory_kb = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    commit = _git("rev-parse", "--short", "HEAD") + (" and changes" if _git("status", "--porcelain", "src") else "")
    print(f"\n## {question}")
    print(
        f"machine: {models[0] if models else platform.machine()}, {cores} cores, {memory_kb / 2**20:.1f} GiB;", end=" "
    )
    print(f"Python {platform.python_version()}; commit {commit}; the load generator runs beside the server")


def load() -> str:
    """The machine's load averages over 1, 5 and 15 minutes: what else it had to do."""
    return " ".join(Path("/proc/loadavg").read_text().split()[:3])


def result(what: str, value: float, unit: str, load: str, outcome: Outcome | None = None) -> None:
    """Print one figure with the load that gave it, and the latencies if they belong to it."""
    latencies = ""
    if outcome is not None:
        latencies = f"; p50 {outcome.percentile_ms(50):.1f} ms, p99 {outcome.percentile_ms(99):.1f} ms"
        if outcome.failures:
            latencies += f"; FAILURES {dict(outcome.failures.most_common(3))}"
    print(f"{what}: {value:,.0f} {unit} ({load}{latencies})", flush=True)


def settle_disk() -> None:
    """Wait until the disk has taken what earlier measurements left to it, and say how long that was. A data directory
    of a gigabyte that is removed has its blocks discarded by the file system later, and a commit that comes meanwhile
    waits for up to a second: that would be told as latency of whoever is measured next."""
    os.sync()
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as file:
        quick = 0
        while quick < _SETTLED_SYNCS and time.monotonic() - began < _DISK_PATIENCE_S:
            at = time.monotonic()
            os.pwrite(file.fileno(), bytes(8192), 0)
            os.fdatasync(file.fileno())
            quick = quick + 1 if time.monotonic() - at < _SETTLED_S else 0
            time.sleep(0.01)
    waited = time.monotonic() - began
    verdict = "quiet" if quick == _SETTLED_SYNCS else "NOT QUIET"
    print(f"  the disk was {verdict} after {waited:.1f} s", flush=True)


def memory_mb(server: Server) -> float:
    """Resident memory of the server's processes without PostgreSQL's, in MB."""
    ours = [process for process in processes.tree(server.pid) if not process.name.startswith("postgres")]
    return sum(processes.resident_bytes(process) for process in ours) / 1e6


@contextmanager
def server_under_test(transport: str, *, env: dict[str, str] | None = None) -> Generator[tuple[Server, Target]]:
    """A fresh `landline dev`, so that no run carries what an earlier one left to do, and the way to it: over TLS as
    users get it, or by plain http."""
    port = free_port()
    with Server(arguments=["--plain-http-port", str(port)], env=env) as server:
        if transport == TLS:
            yield server, Target.of(server.endpoint, server.access_key, server.ca_bundle)
        else:
            yield server, Target.of(f"http://localhost:{port}", server.access_key, None)


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
