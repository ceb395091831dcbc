"""What each process of Landline says of itself when it is asked: tests/chaos/probe is loaded into it for that."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.stage import Machine, tell

if TYPE_CHECKING:
    from tests.chaos.run import Run

PATIENCE_S = 180.0
PROBE = Path(__file__).parent / "probe"


async def until(met: Callable[[], Coroutine[Any, Any, bool] | bool], what: str) -> None:
    """Return when `met`. Raises `TimeoutError` when that does not come in any time a busy machine needs."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        held = met()
        if held if isinstance(held, bool) else await held:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come")
        await asyncio.sleep(0.1)


def watched(run: "Run") -> None:
    """Have the processes of all machines answer probes; before they start."""
    for machine in run.stage.machines:
        kept = machine.environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        machine.environment["PYTHONPATH"] = os.pathsep.join([str(PROBE), *filter(None, [kept])])
        machine.environment["CHAOS_PROBE"] = str(run.directory / "probes")


def of_landline(run: "Run", machine: Machine) -> list[int]:
    """Its processes without those of a PostgreSQL of its own, which keeps open what it has read."""
    others = set(run.stage.postgres.pids())
    return [pid for pid in machine.pids() if pid not in others]


class Probes:
    """Of all machines; they are steady when they are asked, for one that is just starting would die of it."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._directory = run.directory / "probes"
        self._numbers = count(1)

    def processes(self) -> Iterable[tuple[str, int]]:
        for machine in self._run.stage.machines:
            for pid in of_landline(self._run, machine):
                with_probe = Path(f"/proc/{pid}/environ").read_bytes()
                if b"CHAOS_PROBE=" in with_probe and "python" in Path(f"/proc/{pid}/exe").resolve().name:
                    yield f"{machine.name} {pid}", pid

    async def ask(self, series: str, *, least: int = 0) -> dict[str, Any]:
        """What each process says of itself."""
        self._directory.mkdir(exist_ok=True)
        number = next(self._numbers)
        asked = {"number": number, "series": series, "least": least}
        (self._directory / "ask").write_text(json.dumps(asked))
        processes = dict(self.processes())
        tell(processes.values(), signal.SIGUSR2)
        found: dict[str, Any] = {}

        def answered() -> bool:
            for who, pid in processes.items():
                file = self._directory / f"{pid}.json"
                if who not in found and file.exists():
                    told = json.loads(file.read_text())
                    assert "failed" not in told, told
                    if told["asked"] == number:
                        found[who] = told
            return len(found) == len(processes)

        await until(answered, "the answers of all probes")
        return found
