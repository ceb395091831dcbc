"""Which seeds the simulations run, and how one that failed is told."""

import os
from collections.abc import Mapping, Sequence

FAULTS = bool(os.environ.get("FAULTS"))
"""Whether all faults are met (`make sim`), those too that do not run the same under every PYTHONHASHSEED."""


def chunks(at_once: int, usual: int) -> list[range]:
    """The seeds to run, `at_once` in one test; one of the environment alone."""
    if "LANDLINE_SIM_SEED" in os.environ:
        seed = int(os.environ["LANDLINE_SIM_SEED"])
        return [range(seed, seed + 1)]
    first, count = int(os.environ.get("LANDLINE_SIM_FIRST", "0")), int(os.environ.get("LANDLINE_SIM_SEEDS", str(usual)))
    return [range(at, min(at + at_once, first + count)) for at in range(first, first + count, at_once)]


def name(seeds: range) -> str:
    return f"{seeds.start}-{seeds.stop - 1}"


def told(wrong: Mapping[int, Sequence[str]]) -> str:
    """What is wrong, each line with the seed that shows it."""
    return "\n".join(f"LANDLINE_SIM_SEED={seed}: {each}" for seed, found in wrong.items() for each in found)
