"""The SMPP server for customers under everything that can go wrong, from a seed: whatever happens, what was accepted is
sent once, and every receipt and text that is promised is brought.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import pytest
from tests.sim.arena import Simulation
from tests.sim.customers_world import run
from tests.sim.seeds import FAULTS, chunks, name, told

# Without faults: seeds that run the same each time, whatever PYTHONHASHSEED is.
SEEDS = chunks(5, 40 if FAULTS else 5)


@pytest.mark.parametrize("seeds", SEEDS, ids=name)
def test_customers_are_told_of_every_message_and_every_text(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := run(simulation, seed))}
    assert not wrong, told(wrong)
