"""Whether a process stood still before what it reads now came."""

import asyncio

import pytest

from landline.engines.smpp import standstill
from landline.engines.smpp.standstill import Standstill


class Line:
    """The time that passes for the process, by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(standstill, "monotonic", made)
    return made


async def test_what_is_read_after_a_standstill_may_have_come_at_its_beginning(line: Line) -> None:
    process = Standstill()
    process.begin()
    line.now += 12.0
    assert process.seconds() == 12.0, "what waited is read before the beat that is due"
    line.now += 1.5
    assert process.seconds() == 13.5, "so is what is read next"
    line.now += 1.0
    assert process.seconds() == 0.0
    process.end()


async def test_a_standstill_is_noticed_by_a_beat_as_well(line: Line) -> None:
    process = Standstill()
    process.begin()
    line.now += 12.0
    process.end()
    process.begin()  # the beat that was due, before anything is read
    assert process.seconds() == 12.0
    process.end()


async def test_a_process_that_goes_on_or_rests_shortly_is_not_taken_for_one_that_stood_still(line: Line) -> None:
    process = Standstill()
    for _ in range(5):
        process.begin()
        line.now += 3.9
        process.end()
        assert process.seconds() == 0.0
    process.end()


async def test_it_beats_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "_BEAT_S", 0.0)
    beats = asyncio.Event()
    process = Standstill()
    began = process.begin

    def begin() -> None:
        began()
        beats.set()

    monkeypatch.setattr(process, "begin", begin)
    began()
    await beats.wait()
    process.end()
