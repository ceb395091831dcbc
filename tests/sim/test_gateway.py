"""The gateway under everything that can go wrong, from a seed: whatever happens, every accepted message ends once, and
only once, and what is told and counted of it agrees.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and runs again the same way with
`LANDLINE_SIM_SEED=seed`.
"""

import os

import pytest
from tests.sim.arena import Simulation

AT_ONCE = 10


def chunks() -> list[range]:
    """The seeds to run, a few at a time; one of the environment alone."""
    if "LANDLINE_SIM_SEED" in os.environ:
        seed = int(os.environ["LANDLINE_SIM_SEED"])
        return [range(seed, seed + 1)]
    first, count = int(os.environ.get("LANDLINE_SIM_FIRST", "0")), int(os.environ.get("LANDLINE_SIM_SEEDS", "40"))
    return [range(at, min(at + AT_ONCE, first + count)) for at in range(first, first + count, AT_ONCE)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_every_accepted_message_ends_exactly_once(simulation: Simulation, seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := simulation.run(seed))}
    assert not wrong, "\n".join(f"LANDLINE_SIM_SEED={seed}: {each}" for seed, found in wrong.items() for each in found)
