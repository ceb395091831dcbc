"""The event deliverer under everything that can go wrong, from a seed: every event of a committed transaction is taken
by each webhook that wants it, or is given up by the rules, and nothing of it is left over.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import os
import random

import pytest
from tests.sim.arena import Simulation
from tests.sim.delivered import broken
from tests.sim.events_world import EventsRun, limits
from tests.sim.seeds import chunks, name, told

_SEEDS = (
    None
    if os.environ.keys() & {"FAULTS", "LANDLINE_SIM_SEED", "LANDLINE_SIM_SEEDS"}
    else [range(4, 12), range(12, 20), range(21, 24)]
)
"""Those of `make test`: quick ones, which run the same each time whatever PYTHONHASHSEED is."""
_STEPS = 30 if os.environ.get("FAULTS") else 20


def found(simulation: Simulation, seed: int) -> list[str]:
    with limits(random.Random(seed ^ 3)):
        return simulation.run(seed, _STEPS, world=EventsRun, judge=broken)


@pytest.mark.parametrize("seeds", _SEEDS or chunks(10, 40), ids=name)
def test_every_event_is_taken_or_given_up(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: each for seed in seeds if (each := found(simulation, seed))}
    assert not wrong, told(wrong)
