"""Sharing a carrier's slots: even, without moving what is even already, and never one slot for two."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from landline.engines.smpp.slots import AllMine, Slot, Turns, share, up_elsewhere

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
PROCESSES = [UUID(int=number) for number in range(1, 10)]


class Table:
    """The slots as the database has them; every process looks in turn."""

    def __init__(self, binds: int) -> None:
        self.slots = [Slot(number, None, NOW, leaving=False) for number in range(binds)]
        self.sharers: set[UUID] = set()
        self.moves = 0

    def look(self, process: UUID, *, expected: int = 1) -> None:
        found = share(process, self.slots, self.sharers, NOW, expected=expected)
        for number in found.keep | found.claim:
            held = self.slots[number]
            assert held.owner in (process, None) or held.until <= NOW, "taken from one who has it"
            self.slots[number] = Slot(number, process, LATER, leaving=number in found.leave)
        self.moves += len(found.claim)

    def end_binds(self, process: UUID) -> None:
        for number, slot in enumerate(self.slots):
            if slot.owner == process and slot.leaving:
                self.slots[number] = replace(slot, owner=None, leaving=False)

    def die(self, process: UUID) -> None:
        self.sharers.discard(process)
        self.slots = [replace(slot, until=NOW) if slot.owner == process else slot for slot in self.slots]

    def settle(self) -> None:
        for _ in range(4):
            for process in sorted(self.sharers):
                self.look(process)
            for process in sorted(self.sharers):
                self.end_binds(process)

    def counts(self) -> list[int]:
        held = Counter(slot.owner for slot in self.slots if slot.until > NOW)
        return sorted(held[process] for process in self.sharers)


@pytest.mark.parametrize("seed", range(30))
def test_slots_are_shared_evenly_whoever_comes_and_dies_and_then_stay(seed: int) -> None:
    chance = random.Random(seed)
    table = Table(chance.randint(1, 9))
    for _ in range(20):
        who = chance.choice(PROCESSES)
        table.die(who) if who in table.sharers else table.sharers.add(who)
        if not table.sharers:
            continue
        table.settle()
        counts = table.counts()
        assert sum(counts) == len(table.slots), counts
        assert counts[-1] - counts[0] <= 1, counts
        moves = table.moves
        table.settle()
        assert table.moves == moves, "what is even is left alone"


@pytest.mark.parametrize("seed", range(25))
def test_no_more_binds_move_than_must_however_slowly_they_end(seed: int) -> None:
    chance = random.Random(seed)
    table = Table(chance.randint(1, 9))

    def live() -> None:
        """Everyone looks now and then; what is being given up takes its time to end."""
        for _ in range(150):
            if chance.random() < 0.7:
                table.look(chance.choice(sorted(table.sharers)))
            else:
                table.end_binds(chance.choice(sorted(table.sharers)))
        for _ in range(4):
            for process in sorted(table.sharers):
                table.look(process)
                table.end_binds(process)

    for _ in range(12):
        who = chance.choice(PROCESSES)
        before = table.moves
        if who in table.sharers:
            if len(table.sharers) == 1:
                continue
            must = sum(1 for slot in table.slots if slot.owner == who)
            table.die(who)
        else:
            table.sharers.add(who)
            must = len(table.slots) // len(table.sharers) if len(table.sharers) > 1 else len(table.slots)
        live()
        counts = table.counts()
        assert sum(counts) == len(table.slots), counts
        assert counts[-1] - counts[0] <= 1, counts
        assert table.moves - before == must


def test_the_first_to_come_leaves_room_for_those_that_are_expected() -> None:
    table = Table(4)
    for process in PROCESSES[:2]:
        table.sharers.add(process)
        table.look(process, expected=2)
    assert table.counts() == [2, 2]


def test_a_process_without_a_slot_gets_one_only_when_there_are_enough() -> None:
    table = Table(2)
    table.sharers = set(PROCESSES[:3])
    table.settle()
    assert table.counts() == [0, 1, 1]
    [idle] = [process for process in table.sharers if all(slot.owner != process for slot in table.slots)]
    table.die(next(process for process in sorted(table.sharers) if process != idle))
    table.settle()
    assert table.counts() == [1, 1]


def test_what_another_lacks_is_left_to_it() -> None:
    """Else it would be given up again at once."""
    table = Table(4)
    first, second, third = PROCESSES[:3]
    table.sharers = {first, second}
    table.look(first)
    assert table.counts() == [0, 2]
    table.sharers.add(third)
    table.look(second)
    assert table.counts() == [0, 1, 2]
    table.look(third)
    assert table.counts() == [1, 1, 2]


def test_who_is_alone_has_all() -> None:
    assert AllMine(3).held == {0, 1, 2}


A, B = PROCESSES[:2]


def passes(turns: Turns, after_s: float, *owners: UUID | None, up: UUID | None = None, me: UUID = B) -> bool:
    """Whether `me` does without slots that `owners` hold, of whom one is `up`."""
    now = NOW + timedelta(seconds=after_s)
    until = now + timedelta(seconds=15)
    slots = [Slot(number, owner, until, leaving=False, up=owner == up) for number, owner in enumerate(owners)]
    return turns.passes(me, slots, {A, B}, now, up=up == me)


def test_who_cannot_submit_where_others_can_tries_again_after_growing_pauses() -> None:
    turns, left = Turns(), list[int]()
    before = False
    for second in range(0, 600, 5):
        now = passes(turns, second, *((A, A) if before else (A, B)), up=A)
        if now and not before:
            left.append(second)
        before = now
    assert left == [20, 105, 250, 515], "pauses of 60, 120, 240 s, and a look after each in which it gets slots"
    assert turns.failed


def test_who_can_submit_again_has_failed_no_more() -> None:
    turns = Turns()
    assert [passes(turns, second, A, B, up=A) for second in (0, 20, 79)] == [False, True, True]
    assert not passes(turns, 80, A, B, up=B)
    assert not turns.failed
    assert [passes(turns, second, A, B, up=A) for second in (90, 110, 169)] == [False, True, True]


def test_nobody_leaves_slots_that_are_of_no_more_use_to_the_others() -> None:
    turns = Turns()
    assert not any(passes(turns, second, A, B) for second in range(0, 100, 5)), "the SMSC is away"
    assert not any(passes(turns, second, A, A, up=A) for second in range(0, 100, 5)), "it has none"


def test_the_only_slot_goes_round_until_somebody_can_submit() -> None:
    turns = Turns()
    assert [passes(turns, second, B) for second in (0, 15, 20, 25)] == [False, False, True, True]


def test_who_is_left_alone_tries_at_once() -> None:
    turns = Turns()
    assert [passes(turns, second, A, B, up=A) for second in (0, 20)] == [False, True]
    now = NOW + timedelta(seconds=25)
    assert not turns.passes(B, [Slot(0, None, now, leaving=False)], {B}, now, up=False)


def test_a_slot_that_is_being_given_up_stays_so_and_no_other_is() -> None:
    slots = [Slot(0, B, LATER, leaving=True), Slot(1, B, LATER, leaving=False)]
    found = share(B, slots, {A, B}, NOW)
    assert (found.keep, found.claim, found.leave) == ({0, 1}, frozenset(), {0})


def test_a_carrier_is_up_elsewhere_where_another_process_says_so_and_lives() -> None:
    slot = Slot(0, A, LATER, leaving=False, up=True)
    assert up_elsewhere(B, [slot], NOW)
    assert not up_elsewhere(A, [slot], NOW)
    assert not up_elsewhere(B, [slot], LATER)
    assert not up_elsewhere(B, [replace(slot, up=False)], NOW)
    assert not up_elsewhere(B, [replace(slot, owner=None)], NOW)
