"""The processes of a running server, as Linux shows them in /proc."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_S

from landline.testing.server import START_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `started` tells it from a later one of the same id."""

    pid: int
    parent: int
    name: str
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; one that has ended and is not yet waited for does not."""
        now = _read(self.pid)
        return now is not None and now.started == self.started


def tree(root: int) -> list[Process]:
    """The process `root` and all below it, parents first."""
    every = [found for entry in Path("/proc").iterdir() if entry.name.isdigit() and (found := _read(int(entry.name)))]
    found = [process for process in every if process.pid == root]
    for parent in found:  # grows while it is walked
        found += [process for process in every if process.parent == parent.pid]
    return found


def postmaster(root: int) -> Process | None:
    """The PostgreSQL server below `root`: the first of that name."""
    return next((process for process in tree(root) if process.name.startswith("postgres")), None)


def kill_postgresql(root: int) -> None:
    """SIGKILL the PostgreSQL server below `root`; return when nothing of it runs. A backend outlives its postmaster for
    as long as its statement takes, and what it commits is acknowledged: only what is asked for after this call shows
    that PostgreSQL is there again."""
    server = _stopped_postmaster(root)
    left = tree(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    wait_ended(left)


@contextmanager
def postgresql_stopped(root: int) -> Iterator[None]:
    """Meanwhile nothing of the PostgreSQL server below `root` runs, and nobody can connect to it."""
    server = _stopped_postmaster(root)
    stopped = tree(server.pid)  # whoever ends now stays as a zombie, for nobody waits for it
    for each in stopped:
        os.kill(each.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in reversed(stopped):  # the postmaster last: it has waited for none of them before
            os.kill(each.pid, signal.SIGCONT)


def _stopped_postmaster(root: int) -> Process:
    """The PostgreSQL server below `root`, which makes no backend any more and knows of none that ends."""
    server = postmaster(root)
    assert server is not None, f"no PostgreSQL below {root}"
    os.kill(server.pid, signal.SIGSTOP)
    while _state(server.pid) not in ("T", "Z", ""):  # a signal is sent at once, and acted on in time
        os.sched_yield()
    return server


def wait_ended(left: Iterable[Process]) -> None:
    """Return when none of `left` runs. Fails when that is never so."""
    with ExitStack() as opened:
        ends = select.poll()
        running: dict[int, Process] = {}
        for process in left:
            with suppress(ProcessLookupError):
                end = os.pidfd_open(process.pid)
                opened.callback(os.close, end)
                if process.alive:  # and not another one by now
                    running[end] = process
                    ends.register(end, select.POLLIN)
        while running:
            ended = ends.poll(PATIENCE_S * 1000)
            assert ended, f"these go on: {list(running.values())}"
            for end, _ in ended:
                ends.unregister(end)
                del running[end]


def pending(pid: int, number: signal.Signals) -> bool:
    """Whether the process has yet to be given a signal that was sent to it."""
    bit = 1 << (number - 1)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return any(int(line.split()[1], 16) & bit for line in lines if line.startswith(("SigPnd:", "ShdPnd:")))


def resident_bytes(process: Process) -> int:
    """Memory that `process` has in RAM (VmRSS)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def wait_serving(process: "subprocess.Popen[Any]", ready: Path) -> None:
    """Return when the server that `process` starts has written its `ready` file. Fails where it ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready.exists():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it does not serve"
        time.sleep(0.01)


def command(pid: int) -> list[str]:
    """What it was started with; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(pid: int) -> Process | None:
    name, fields = _stat(pid)
    return None if not fields or fields[0] == "Z" else Process(pid, int(fields[1]), name, fields[19])


def _state(pid: int) -> str:
    """As ps(1) shows it; empty when there is no such process."""
    _, fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> tuple[str, list[str]]:
    """The name, and the fields behind it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", []
    # proc(5): the name is in brackets and may itself hold brackets and spaces.
    return stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
