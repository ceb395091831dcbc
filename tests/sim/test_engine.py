"""The SMPP engine under everything that can go wrong, from a seed: whatever SMSCs, connections and processes do, what
was accepted is handed over once, or as often as its rule says, and what SMSCs bring is heard.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import pytest
from tests.sim.arena import Simulation
from tests.sim.engine_world import run
from tests.sim.seeds import FAULTS, chunks, name, told

# Without faults: seeds that run the same each time, whatever PYTHONHASHSEED is.
SEEDS = chunks(5, 40 if FAULTS else 5)


@pytest.mark.parametrize("seeds", SEEDS, ids=name)
def test_smscs_are_given_and_heard_as_promised(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := run(simulation, seed))}
    assert not wrong, told(wrong)
