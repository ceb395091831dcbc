"""The supervisor's side of several processes, with children that fail in every way a process can."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.cluster import eventually, written
from tests.support.patience import PATIENCE_S

from landline.app.application import Place
from landline.app.child import Setup, decoded, encoded
from landline.app.config import load
from landline.app.serving import Sockets
from landline.app.workers import Workers
from landline.core.errors import Refusal, Unavailable

CHILD = """
import json, os, signal, socket, sys, time
control = socket.socket(fileno=int(sys.argv[-1]))
setup = json.loads(control.makefile("rb").readline())
def say(**word):
    control.sendall(json.dumps(word).encode() + b"\\n")
def started():
    say(type="Started", dev_info=None)
def note(what):
    with open({notes!r}, "a") as notes:
        notes.write(json.dumps({{"what": what, "number": setup["number"], "place": setup["place"]}}) + "\\n")
note("born")
{conduct}
"""
WAITS = """
signal.signal(signal.SIGHUP, lambda *_: note('hung up'))
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
started()
while True: signal.pause()
"""


class Family:
    """Workers whose children run a script, and what those wrote down."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._notes = directory / "notes"
        self._made: list[Workers] = []

    def of(self, conduct: str, *, count: int = 2) -> Workers:
        flags: dict[str, object] = {"data": str(self._directory), "driven_clock": False, "workers": count}
        config = load("dev", environment={}, flags=flags)
        script = CHILD.format(notes=str(self._notes), conduct=conduct)
        self._made.append(Workers(config, "postgresql://", Sockets(), [sys.executable, "-c", script]))
        return self._made[-1]

    def noted(self, what: str) -> list[dict[str, Any]]:
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    async def until(self, what: str, count: int) -> None:
        async def there() -> bool:
            return len(self.noted(what)) >= count

        await eventually(there)

    async def close(self) -> None:
        for each in self._made:
            await each.close()


@pytest.fixture
async def family(tmp_path: Path) -> AsyncGenerator[Family]:
    family = Family(tmp_path)
    yield family
    await family.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(workers: Workers) -> list[int]:
    return [child.process.pid for child in workers._children.values()]


async def test_what_a_child_cannot_start_for_is_said_as_it_says_it(family: Family) -> None:
    with pytest.raises(Refusal, match="no such thing"):
        await family.of("say(type='CannotStart', message='no such thing')").start()
    with pytest.raises(Unavailable, match="away"):
        await family.of("say(type='CannotStart', message='PostgreSQL is away', passing=True)").start()
    with pytest.raises(Refusal, match="ended with status 7 before it served"):
        await family.of("os._exit(7)").start()


async def test_a_crash_loop_is_told_and_slowed_down(family: Family, capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    await family.of("started(); os._exit(3)", count=1).start()
    await family.until("born", 6)
    said = capsys.readouterr().out
    assert "workers.crash_loop" in said
    assert "ended with status 3" in said


async def test_a_successor_learns_whom_it_succeeds_until_one_has_served(family: Family) -> None:
    conduct = (
        "import pathlib\nborn = pathlib.Path({notes!r}).read_text().count('born')\n"
        "if born == 1: started(); os._exit(1)\n"
        "if born == 2: os._exit(1)\n"
    ).replace("{notes!r}", repr(str(family._notes)))
    workers = family.of(conduct + WAITS, count=1)
    await workers.start()
    await family.until("born", 3)
    first, second, third = (note["place"] for note in family.noted("born"))
    assert first["succeeds"] == []
    assert second["succeeds"] == [first["owner"]]
    assert third["succeeds"] == [first["owner"], second["owner"]]
    assert {place["alone"] for place in (first, second, third)} == {False}


async def test_only_the_first_is_first_and_each_has_its_own_owner(family: Family) -> None:
    await family.of(WAITS, count=3).start()
    places = {note["number"]: note["place"] for note in family.noted("born")}
    assert [places[number]["first"] for number in range(3)] == [True, False, False]
    assert len({place["owner"] for place in places.values()}) == 3


async def test_a_hang_up_is_passed_on(family: Family) -> None:
    workers = family.of(WAITS)
    await workers.start()
    workers.hang_up()
    await family.until("hung up", 2)


async def test_a_child_that_does_not_end_is_killed(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landline.app.workers._DRAIN_S", 0.2)
    workers = family.of("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS)
    await workers.start()
    left = pids(workers)
    await workers.close()
    assert not any(alive(pid) for pid in left)


async def test_an_end_during_the_pause_before_a_restart_starts_nothing(family: Family) -> None:
    workers = family.of("started(); os._exit(3)", count=1)
    await workers.start()
    await family.until("born", 4)
    async with asyncio.timeout(PATIENCE_S):
        await workers.close()
    born = len(family.noted("born"))
    assert workers._children == {}
    assert len(family.noted("born")) == born


async def test_a_child_is_told_the_whole_configuration(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", "postgresql://x", 2775, binds=3, sender_rates={})
    config = load("serve", file=file, environment={})
    setup = Setup(
        config=config,
        dsn="postgresql://x",
        place=Place(alone=False, together=4),
        number=1,
        parent=os.getpid(),
        public=[3],
        plain=[],
        admin=[],
        customers=[5],
        customers_tls=[],
        own=[4],
        gather=[],
    )
    assert decoded(encoded(setup)) == setup


def test_killed_by_its_signal_is_named() -> None:
    from landline.app.workers import _ended

    assert _ended(-signal.SIGKILL) == "was ended by SIGKILL"
