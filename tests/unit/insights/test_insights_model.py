"""What a tally holds is what happened, and what figures say of it is right."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.ids import ResourceId
from landline.services.insights.model import (
    RELATIVE_ERROR,
    TAG_CHARACTERS,
    Figures,
    Measure,
    Tally,
    bucket,
    cell,
    seconds_of,
)

OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

messages = st.fixed_dictionaries(
    {
        "resource": st.sampled_from([OURS, THEIRS]),
        "at": st.integers(0, 3 * 3600 - 1).map(lambda seconds: START + timedelta(seconds=seconds)),
        "sender": st.sampled_from(["+18005550100", "SHOP"]),
        "tag": st.sampled_from([None, "spring", "autumn"]),
        "recipient": st.sampled_from(["+14255550199", "+4915112345678", "12345"]),
        "carrier": st.sampled_from(["north", "south"]),
        "segments": st.integers(1, 3),
        "what": st.sampled_from(["accepted", "delivered", "failed", "replied", "opted_out"]),
        "took": st.floats(0, 1e6),
        "code": st.sampled_from([4007, 5002, 9999]),
    }
)
NATIONS = {"+14255550199": "US", "+4915112345678": "DE", "12345": "ZZ"}


@given(st.lists(messages, max_size=60))
def test_a_tally_counts_what_happened(happened: list[dict[str, Any]]) -> None:
    tally, wanted = Tally(), Counter()
    for each in happened:
        where = (each["sender"], each["tag"], each["recipient"], each["carrier"])
        begun = each["at"].replace(minute=0, second=0, microsecond=0)
        key = (each["resource"], begun, each["sender"], each["tag"] or "", NATIONS[each["recipient"]], each["carrier"])
        if each["what"] == "accepted":
            tally.accepted(each["resource"], each["at"], *where, each["segments"])
            wanted[*key, Measure.ACCEPTED, 0] += 1
            wanted[*key, Measure.SEGMENTS, 0] += each["segments"]
        elif each["what"] in ("delivered", "failed"):
            delivered = each["what"] == "delivered"
            at = each["at"] + timedelta(seconds=each["took"])
            count = each["segments"] if delivered else 0
            tally.ended(each["resource"], each["at"], at, *where, delivered, each["code"], count)
            if delivered:
                wanted[*key, Measure.DELIVERED, 0] += 1
                wanted[*key, Measure.DELIVERY_TIME, bucket((at - each["at"]).total_seconds())] += 1
                wanted[*key, Measure.SEGMENTS_DELIVERED, 0] += count
            else:
                wanted[*key, Measure.FAILED, each["code"]] += 1
        elif each["what"] == "replied":
            tally.replied(each["resource"], each["at"], *where)
            wanted[*key, Measure.REPLIES, 0] += 1
        else:
            tally.opted_out(each["resource"], each["at"], *where)
            wanted[*key, Measure.OPT_OUTS, 0] += 1
    found = Counter()
    for c in tally.counts():
        found[c.resource, c.hour, c.sender, c.tag, c.country, c.carrier, c.measure, c.detail] += c.count
    assert found == wanted
    assert sum(1 for _ in tally.counts()) == len(wanted)


def test_outcomes_are_counted_in_the_hour_of_acceptance() -> None:
    tally = Tally()
    tally.ended(OURS, START, START + 5 * HOUR, "SHOP", None, "+14255550199", "north", True, 2000, 1)
    tally.replied(OURS, START + 5 * HOUR, "SHOP", None, "+14255550199", "north")
    hours = {count.measure: count.hour for count in tally.counts()}
    assert hours[Measure.DELIVERED] == hours[Measure.DELIVERY_TIME] == START
    assert hours[Measure.REPLIES] == START + 5 * HOUR


def test_many_alike_are_counted_at_once_and_long_tags_by_their_beginning() -> None:
    tally = Tally()
    tally.accepted(OURS, START, "SHOP", "x" * 2048, "+14255550199", "north", 2, 100)
    assert {(c.measure, c.tag, c.count) for c in tally.counts()} == {
        (Measure.ACCEPTED, "x" * TAG_CHARACTERS, 100),
        (Measure.SEGMENTS, "x" * TAG_CHARACTERS, 200),
    }


def test_a_message_that_goes_by_another_carrier_takes_its_acceptance_along() -> None:
    tally = Tally()
    tally.accepted(OURS, START, "SHOP", None, "+14255550199", "north", 2)
    tally.moved(OURS, START, "SHOP", None, "+14255550199", "north", "south", 2)
    sums = Counter({(c.carrier, c.measure): c.count for c in tally.counts()})
    assert sums == {
        ("north", Measure.ACCEPTED): 0,
        ("north", Measure.SEGMENTS): 0,
        ("south", Measure.ACCEPTED): 1,
        ("south", Measure.SEGMENTS): 2,
    }


def test_a_cost_goes_along_and_what_has_no_price_counts_none() -> None:
    tally, to = Tally(), "+14255550199"
    tally.accepted(OURS, START, "SHOP", None, to, "north", 2, 3, 15_000)
    tally.accepted(OURS, START, "SHOP", None, to, "north", 2)
    tally.accepted(OURS, START, "SHOP", None, to, "south", 1, 1, 0)
    tally.moved(OURS, START, "SHOP", None, to, "north", "south", 2, 15_000)
    tally.moved(OURS, START, "SHOP", None, to, "north", "south", 2)
    sums = {(c.carrier, c.measure): c.count for c in tally.counts() if c.measure in (Measure.COST, Measure.PRICED)}
    assert sums == {
        ("north", Measure.COST): 30_000,
        ("north", Measure.PRICED): 2,
        ("south", Measure.COST): 15_000,
        ("south", Measure.PRICED): 2,
    }
    [figures] = [Figures.of(cells.items()) for key, cells in tally.groups.items() if "north" in key]
    assert (figures.cost, figures.priced) == (30_000, 2)


@given(st.floats(0.001, 86400 * 30))
def test_a_bucket_stands_for_its_durations(seconds: float) -> None:
    assert abs(seconds_of(bucket(seconds)) - seconds) <= RELATIVE_ERROR * seconds * (1 + 1e-9)
    assert RELATIVE_ERROR <= 0.05


@pytest.mark.parametrize("seconds", [-3600.0, -0.001, 0.0, 0.0004])
def test_what_took_no_time_or_less_took_a_millisecond(seconds: float) -> None:
    assert seconds_of(bucket(seconds)) == 0.001


def test_a_duration_of_years_has_a_bucket_that_can_be_stored() -> None:
    assert bucket(1e12) == bucket(1e13) < 1 << 15


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_percentiles_are_those_of_the_durations_within_the_error(durations: list[float], share: float) -> None:
    figures = Figures(times=dict(Counter(bucket(each) for each in durations)))
    exact = sorted(durations)[ceil(share * len(durations)) - 1]
    found = figures.delivery_seconds(share)
    assert found is not None
    assert abs(found - exact) <= 0.05 * exact


def test_figures_say_rates_of_what_ended() -> None:
    cells = {
        cell(Measure.ACCEPTED): 10,
        cell(Measure.SEGMENTS): 20,
        cell(Measure.DELIVERED): 6,
        cell(Measure.SEGMENTS_DELIVERED): 12,
        cell(Measure.FAILED, 4007): 1,
        cell(Measure.FAILED, 5002): 1,
        cell(Measure.DELIVERY_TIME, 0): 6,
        cell(Measure.REPLIES): 3,
        cell(Measure.OPT_OUTS): 2,
    }
    figures = Figures.of(cells.items())
    assert (figures.accepted, figures.delivered, figures.failed, figures.pending) == (10, 6, 2, 2)
    assert figures.failed_by_code == {4007: 1, 5002: 1}
    assert figures.delivery_rate == 0.75
    assert figures.response_rate == 0.5
    assert figures.opt_out_rate == pytest.approx(1 / 3)


def test_nothing_has_no_rates() -> None:
    figures = Figures()
    assert figures.delivery_rate is figures.response_rate is figures.opt_out_rate is None
    assert figures.delivery_seconds(0.5) is None
