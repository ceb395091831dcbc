"""What the chaos harness takes for growth (tests/chaos/growth.py), and what it does not."""

from random import Random

import pytest
from tests.chaos.growth import MEASURED, grown, slope


def test_the_slope_is_what_most_steps_are_whatever_a_few_odd_figures_say() -> None:
    assert slope([3, 3, 3, 3]) == 0
    assert slope([1, 3, 5, 7]) == 2
    assert slope([1, 2, 90, 4, 5, 6, 7]) == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("files of a", range(MEASURED)),
        ("files of a", [number // 2 for number in range(MEASURED)]),
        ("KiB of a", range(0, 400 * MEASURED, 400)),
    ],
    ids=["one an act", "one in two acts", "memory"],
)
def test_what_grows_with_each_act_has_grown(name: str, values: "range | list[int]") -> None:
    assert grown([{name: float(each)} for each in values])


@pytest.mark.parametrize(
    "values",
    [
        [min(number, 6) for number in range(MEASURED)],
        [0] * (MEASURED - 1) + [50],
        [number % 3 for number in range(MEASURED)],
        [Random(7).randrange(9) for _ in range(MEASURED)],
        list(range(MEASURED, 0, -1)),
    ],
    ids=["filled a bound", "one jump", "up and down", "noise", "less"],
)
def test_what_fills_a_bound_or_moves_about_has_not(values: list[int]) -> None:
    assert grown([{"files of a": float(each)} for each in values]) == {}


def test_what_is_not_there_all_along_is_nobodys_growth() -> None:
    """A process that was killed and replaced."""
    assert grown([{"files of a": float(number)} if number else {} for number in range(MEASURED)][::-1]) == {}
