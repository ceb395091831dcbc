"""The SMPP engine under everything that can go wrong, from a seed: whatever SMSCs, connections and processes do, what
was accepted is handed over once, or as often as its rule says, and what SMSCs bring is heard.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import os

import pytest
from tests.sim.arena import Simulation
from tests.sim.engine_world import run

AT_ONCE = 5
USUAL = "40" if os.environ.get("FAULTS") else "5"
"""Without faults: seeds that run the same each time, whatever PYTHONHASHSEED is."""


def chunks() -> list[range]:
    """The seeds to run, a few at a time; one of the environment alone."""
    if "LANDLINE_SIM_SEED" in os.environ:
        seed = int(os.environ["LANDLINE_SIM_SEED"])
        return [range(seed, seed + 1)]
    first, count = int(os.environ.get("LANDLINE_SIM_FIRST", "0")), int(os.environ.get("LANDLINE_SIM_SEEDS", USUAL))
    return [range(at, min(at + AT_ONCE, first + count)) for at in range(first, first + count, AT_ONCE)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_smscs_are_given_and_heard_as_promised(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := run(simulation, seed))}
    assert not wrong, "\n".join(f"LANDLINE_SIM_SEED={seed}: {each}" for seed, found in wrong.items() for each in found)
