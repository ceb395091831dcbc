"""The processes of a running server, as Linux shows them in /proc."""

import os
import select
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0


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
    server = postmaster(root)
    assert server is not None, f"no PostgreSQL below {root}"
    os.kill(server.pid, signal.SIGSTOP)  # no backend comes between the look and the kill
    with ExitStack() as opened:
        ends = select.poll()
        running: set[int] = set()
        for process in tree(server.pid):
            try:
                end = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            opened.callback(os.close, end)
            running.add(end)
            ends.register(end, select.POLLIN)
        os.kill(server.pid, signal.SIGKILL)
        while running:
            ended = ends.poll(PATIENCE_S * 1000)
            assert ended, f"{len(running)} processes of PostgreSQL outlive it"
            for end, _ in ended:
                ends.unregister(end)
                running.discard(end)


def resident_bytes(process: Process) -> int:
    """Memory that `process` has in RAM (VmRSS)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name is in brackets and may itself hold brackets and spaces.
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else Process(pid, int(fields[1]), name, fields[19])
