"""Rules that choose the cheapest carrier: by the price for the number, ties by weight, a pure decision."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.ids import ResourceId
from landline.services.sms.model.prices import Price, PriceList
from landline.services.sms.model.routing import Choice, Route, Router, Rule

SHOP, OURS = ResourceId(UUID(int=1)), "+18005550100"
SEATTLE, LONDON, PARIS, BERLIN = "+14255550123", "+447400123456", "+33612345678", "+4915112345678"
CARRIERS = ("north", "south", "east")
PRICES = PriceList(
    [
        *(Price("north", prefix, micros) for prefix, micros in (("+1", 7), ("+44", 40), ("+33", 9))),
        *(Price("south", prefix, micros) for prefix, micros in (("+", 20), ("+44", 30), ("+33", 9))),
        *(Price("east", prefix, micros) for prefix, micros in (("+1425", 5), ("+44", 30), ("+33", 5))),
    ]
)


def router(*choices: Choice, failover: bool = True, prices: PriceList = PRICES) -> Router:
    rule = Rule(name="all", carriers=choices, choose="cheapest", failover=failover)
    return Router(
        [rule], carriers=CARRIERS, defaults=CARRIERS, resources={}, country=lambda _number: None, prices=prices
    )


def carriers(by: Router, number: str, bound_to: str | None = None) -> tuple[str, ...]:
    return by.route(SHOP, OURS, number, None, bound_to).carriers


EVEN = tuple(Choice(name) for name in CARRIERS)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (SEATTLE, ("east", "north", "south")),
        ("+13035550123", ("north", "south", "east")),  # the east has no price for it
        (BERLIN, ("south", "north", "east")),
    ],
)
def test_the_cheapest_is_first_and_the_others_follow_by_price(number: str, wanted: tuple[str, ...]) -> None:
    assert carriers(router(*EVEN), number) == wanted
    assert carriers(router(*EVEN[::-1]), number)[:1] == wanted[:1]
    assert carriers(router(*EVEN, failover=False), number) == wanted[:1]


def test_of_equal_prices_weights_decide_and_a_number_keeps_its_carrier() -> None:
    by = router(Choice("north", 100), Choice("south", 3), Choice("east"))
    numbers = [f"+4474001{line:05d}" for line in range(4_000)]
    counts = Counter(carriers(by, number) for number in numbers)
    assert counts.keys() == {("south", "east", "north"), ("east", "south", "north")}
    assert 0.7 < counts["south", "east", "north"] / len(numbers) < 0.8
    again = router(Choice("north", 100), Choice("south", 3), Choice("east"))
    assert [carriers(by, number) for number in numbers] == [carriers(again, number) for number in numbers]


def test_a_carrier_of_weight_0_is_never_first_however_cheap_it_is() -> None:
    by = router(Choice("north"), Choice("south"), Choice("east", 0))
    assert carriers(by, SEATTLE) == ("north", "east", "south")
    assert {carriers(by, f"+3361234{line:04d}")[1] for line in range(50)} == {"east"}


def test_without_prices_it_is_as_by_weight() -> None:
    choices = (Choice("north"), Choice("south", 3), Choice("east", 0))
    by_weight = Router(
        [Rule(name="all", carriers=choices)],
        carriers=CARRIERS,
        defaults=CARRIERS,
        resources={},
        country=lambda _number: None,
        prices=PRICES,
    )
    elsewhere = PriceList([Price("west", "+", 1)])
    for prices in (PriceList(), elsewhere):
        by = router(*choices, prices=prices)
        numbers = [f"+1425555{line:04d}" for line in range(200)]
        assert [carriers(by, number) for number in numbers] == [carriers(by_weight, number) for number in numbers]


def test_a_number_bound_to_a_carrier_goes_by_that_one_and_the_others_follow_by_price() -> None:
    assert router(*EVEN).route(SHOP, OURS, SEATTLE, None, "south") == Route("number", ("south", "east", "north"))
    assert carriers(router(*EVEN), BERLIN, "east") == ("east", "south", "north")
    assert carriers(router(*EVEN), SEATTLE, "south") == ("south", "east", "north")


_PRICE = st.none() | st.integers(0, 3)


@given(st.tuples(_PRICE, _PRICE, _PRICE), st.tuples(*[st.integers(0, 3)] * 3).filter(any), st.integers(0, 9_999))
def test_no_carrier_is_behind_a_dearer_one_but_those_that_may_not_be_first(
    prices: tuple[int | None, ...], weights: tuple[int, ...], line: int
) -> None:
    by_carrier: dict[str, int | None] = dict(zip(CARRIERS, prices, strict=True))
    weight: dict[str, int] = dict(zip(CARRIERS, weights, strict=True))
    by = router(
        *(Choice(name, weight[name]) for name in CARRIERS),
        prices=PriceList(Price(name, "+", price) for name, price in by_carrier.items() if price is not None),
    )
    found = carriers(by, f"+1425555{line:04d}")

    def ranks(names: tuple[str, ...]) -> list[float]:
        known = [by_carrier[name] for name in names]
        return [float("inf") if price is None else price for price in known]

    assert sorted(found) == sorted(CARRIERS)
    assert weight[found[0]] > 0
    if any(price is not None for price in prices):
        assert ranks(found[:1])[0] == min(ranks(tuple(name for name in CARRIERS if weight[name])))
        assert ranks(found[1:]) == sorted(ranks(found[1:]))
