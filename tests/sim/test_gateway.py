"""The gateway under everything that can go wrong, from a seed: whatever happens, every accepted message ends once, and
only once, and what is told and counted of it agrees.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import pytest
from tests.sim.arena import Simulation
from tests.sim.seeds import chunks, name, told

SEEDS = chunks(10, 40)


@pytest.mark.parametrize("seeds", SEEDS, ids=name)
def test_every_accepted_message_ends_exactly_once(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := simulation.run(seed))}
    assert not wrong, told(wrong)
