"""Routing as a pure decision: what matches, which carrier is first, and that deciding again decides the same."""

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.services.sms.model import routing
from landline.services.sms.model.routing import Choice, Router, Rule, checked

SHOP, BANK = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
OURS = "+18005550100"
SEATTLE, TORONTO, LONDON, PARIS = "+14255550123", "+14165550123", "+447400123456", "+33612345678"
CARRIERS = ("north", "south", "east")


def country(number: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


def router(*rules: Rule, defaults: Sequence[str] = ("north", "south"), remembered: int = 1_000) -> Router:
    return Router(
        rules,
        carriers=CARRIERS,
        defaults=defaults,
        resources={"shop": SHOP, "bank": BANK},
        country=country,
        remembered=remembered,
    )


def rule(name: str, *carriers: str, **conditions: object) -> Rule:
    choices = tuple(Choice(carrier) for carrier in carriers or ("east",))
    return Rule(name=name, carriers=choices, **conditions)  # type: ignore[arg-type]


def test_without_a_rule_the_default_carriers_are_tried_in_their_order() -> None:
    assert router().route(SHOP, OURS, SEATTLE) == routing.Route("default", ("north", "south"))


@pytest.mark.parametrize(
    ("conditions", "recipient", "tag", "matches"),
    [
        ({}, PARIS, None, True),
        ({"prefixes": ("+336", "+337")}, PARIS, None, True),
        ({"prefixes": ("+337",)}, PARIS, None, False),
        ({"countries": ("US",)}, SEATTLE, None, True),
        ({"countries": ("US",)}, TORONTO, None, False),
        ({"countries": ("CA",), "prefixes": ("+1425",)}, SEATTLE, None, True),
        ({"countries": ("CA",), "prefixes": ("+1425",)}, TORONTO, None, True),
        ({"senders": (OURS,)}, PARIS, None, True),
        ({"senders": ("SHOP",)}, PARIS, None, False),
        ({"tags": ("otp", "bank")}, PARIS, "otp", True),
        ({"tags": ("otp",)}, PARIS, None, False),
        ({"tags": ("otp",)}, PARIS, "OTP", False),
        ({"resources": ("shop",)}, PARIS, None, True),
        ({"resources": ("bank",)}, PARIS, None, False),
        ({"resources": ("gone",)}, PARIS, None, False),
        ({"tags": ("otp",), "countries": ("FR",)}, LONDON, "otp", False),
    ],
)
def test_a_rule_matches_when_all_its_conditions_do(
    conditions: dict[str, tuple[str, ...]], recipient: str, tag: str | None, matches: bool
) -> None:
    found = router(rule("r", **conditions)).route(SHOP, OURS, recipient, tag)
    assert found.rule == ("r" if matches else "default")


def test_priority_decides_and_not_the_longer_prefix() -> None:
    rules = [rule("long", "south", prefixes=("+4474",), priority=20), rule("short", "east", prefixes=("+44",))]
    assert router(*rules).route(SHOP, OURS, LONDON).rule == "long"
    first = rule("short", "east", prefixes=("+44",), priority=10)
    assert router(rules[0], first).route(SHOP, OURS, LONDON).rule == "short"
    assert router(rule("b"), rule("a")).route(SHOP, OURS, LONDON).rule == "a"


def test_the_weights_are_kept_and_a_recipient_stays_with_its_carrier() -> None:
    weighted = Rule(name="w", carriers=(Choice("north", 6), Choice("south", 3), Choice("east", 1)))
    for pattern in ("+1425555%04d", "+4474%08d", "+3361234%04d"):
        routes = [router(weighted).route(SHOP, OURS, pattern % number) for number in range(10_000)]
        firsts = Counter(route.carriers[0] for route in routes)
        for carrier, share in (("north", 0.6), ("south", 0.3), ("east", 0.1)):
            assert abs(firsts[carrier] / 10_000 - share) < 0.02
        again = router(rule("other"), Rule(name="w", carriers=weighted.carriers, priority=1))
        assert routes == [again.route(BANK, "SHOP", pattern % number) for number in range(10_000)]


def test_the_others_follow_by_weight_and_weight_0_is_never_first() -> None:
    weighted = Rule(name="w", carriers=(Choice("east", 0), Choice("north", 1), Choice("south", 2)))
    orders = {router(weighted).route(SHOP, OURS, f"+1425555{number:04}").carriers for number in range(500)}
    assert orders == {("south", "north", "east"), ("north", "south", "east")}


def test_without_failover_there_is_one_carrier() -> None:
    routes = router(rule("r", "south", "east", failover=False))
    found = {routes.route(SHOP, OURS, f"+1425555{number:04}").carriers for number in range(100)}
    assert found == {("south",), ("east",)}


def test_a_numbers_own_carrier_is_first_and_a_matching_rule_gives_the_others() -> None:
    routes = router(rule("fr", "south", "east", countries=("FR",)))
    assert routes.route(SHOP, OURS, PARIS, None, "east") == routing.Route("number", ("east", "south"))
    assert routes.route(SHOP, OURS, LONDON, None, "east") == routing.Route("number", ("east",))
    strict = router(rule("fr", "south", countries=("FR",), failover=False))
    assert strict.route(SHOP, OURS, PARIS, None, "north") == routing.Route("number", ("north",))


def test_carriers_that_are_not_there_are_passed_over() -> None:
    routes = router(rule("gone", "west", priority=1), rule("half", "west", "east", priority=2))
    assert routes.route(SHOP, OURS, PARIS) == routing.Route("half", ("east",))
    steps = routes.explain(SHOP, OURS, PARIS).steps
    assert [(step.rule, step.passed_over is None) for step in steps] == [("gone", False), ("half", True)]


def test_prefixes_are_held_once_however_many_senders_have_rules_of_their_own() -> None:
    senders = [f"+1800555{line:04d}" for line in range(200)]
    own = [rule(sender[1:], senders=(sender,), prefixes=("+1425",), priority=50) for sender in senders]
    table = rule("table", prefixes=tuple(f"+44{area:04d}" for area in range(6_000, 8_000)))
    found = router(table, *own)
    tracemalloc.start()
    try:
        routes = {found.route(SHOP, sender, number).rule for sender in senders for number in (LONDON, SEATTLE)}
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert routes == {"table", *(sender[1:] for sender in senders)}
    assert held_bytes < 1_000_000


conditions = st.fixed_dictionaries(
    {
        "priority": st.integers(0, 3),
        "countries": st.lists(st.sampled_from(["US", "CA", "GB", "JE", "FR"]), max_size=2).map(tuple),
        "prefixes": st.lists(st.sampled_from(["+1", "+1425", "+44", "+447", "+33", "+336123"]), max_size=3).map(tuple),
        "senders": st.lists(st.sampled_from([OURS, "SHOP"]), max_size=1).map(tuple),
        "tags": st.lists(st.sampled_from(["otp", "news"]), max_size=2).map(tuple),
        "resources": st.lists(st.sampled_from(["shop", "bank", "gone"]), max_size=2).map(tuple),
    }
)


@given(
    st.lists(conditions, max_size=6),
    st.lists(
        st.tuples(
            st.sampled_from([SHOP, BANK]),
            st.sampled_from([OURS, "SHOP", "55501"]),
            st.sampled_from([SEATTLE, TORONTO, LONDON, PARIS, "+447797123456", "+14251111111", "+999123456"]),
            st.sampled_from([None, "otp", "news", "other"]),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 3),
)
def test_the_compiled_decision_is_what_reading_the_rules_in_order_says(
    given_rules: list[dict[str, object]], messages: list[tuple[ResourceId, str, str, str | None]], remembered: int
) -> None:
    routes = router(*(rule(f"r{n}", **each) for n, each in enumerate(given_rules)), remembered=remembered)
    for message in messages:
        explained = routes.explain(*message)
        decided = [step.rule for step in explained.steps if step.passed_over is None]
        assert routes.route(*message).rule == explained.route.rule == (decided[0] if decided else "default")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "default"}, "name"),
        ({"name": "reply"}, "name"),
        ({"name": "a b"}, "name"),
        ({"carriers": ()}, "carriers"),
        ({"carriers": (Choice("north"), Choice("north"))}, "carriers"),
        ({"carriers": (Choice("north", 0),)}, "carriers"),
        ({"carriers": (Choice("north", -1), Choice("south"))}, "carriers"),
        ({"countries": ("UK",)}, "countries"),
        ({"countries": ("us",)}, "countries"),
        ({"prefixes": ("44",)}, "prefixes"),
        ({"prefixes": ("+",)}, "prefixes"),
        ({"senders": ("",)}, "senders"),
        ({"tags": ("",)}, "tags"),
        ({"resources": ("",)}, "resources"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_field(change: dict[str, object], field: str) -> None:
    right: dict[str, object] = {"name": "r", "carriers": (Choice("north"),), "countries": ("GB",), "prefixes": ("+44",)}
    checked(Rule(**right))  # type: ignore[arg-type]
    with pytest.raises(Invalid) as refused:
        checked(Rule(**(right | change)))  # type: ignore[arg-type]
    assert refused.value.target == field
