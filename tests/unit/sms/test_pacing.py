"""Token buckets and the lanes of a carrier's queue: never too fast, first in first out, fair between senders."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.services.sms.model.pacing import Lanes, TokenBucket

START = 1_790_000_000.0
"""An instant of our days: floats are coarser there than near zero."""

rates = st.floats(0.05, 5_000)
pauses = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(rates, st.none() | st.floats(1, 50), pauses)
def test_a_bucket_never_gives_more_than_its_rate_in_any_span(
    rate: float, burst: float | None, gaps: list[float]
) -> None:
    bucket, now = TokenBucket(rate, burst, now=START), START
    taken: list[tuple[float, int]] = []
    for gap in gaps:
        now += gap
        allowed = bucket.allowance(now)
        bucket.take(allowed, now)
        taken.append((now, allowed))
    for first, (since, _) in enumerate(taken):
        for until, _ in taken[first:]:
            count = sum(count for at, count in taken if since <= at <= until)
            assert count <= bucket.burst + rate * (until - since) + 1e-3


@given(rates, st.integers(1, 30))
def test_what_a_bucket_promises_it_gives(rate: float, count: int) -> None:
    bucket = TokenBucket(rate, 30, now=START)
    bucket.take(30, START)
    at = bucket.next_at(START, count)
    assert at > START
    assert bucket.allowance(START + (count / rate) * 0.9) < count
    assert bucket.allowance(at) >= count


def test_a_bucket_pays_its_debt_before_it_gives_again() -> None:
    bucket = TokenBucket(10, 2, now=START)
    bucket.take(7, START)
    assert bucket.allowance(START + 0.5) == 0
    assert bucket.next_at(START + 0.5) == pytest.approx(START + 0.6, abs=0.001)
    assert bucket.allowance(START + 0.61) == 1
    assert not bucket.full(START + 0.61)
    assert bucket.full(START + 1)


def test_a_retuned_bucket_keeps_what_was_taken() -> None:
    bucket = TokenBucket(100, now=START)
    bucket.take(10, START)
    bucket.retune(1_000, now=START)
    assert bucket.allowance(START) == 0
    assert bucket.allowance(START + 0.0101) == 10
    bucket.retune(1, now=START + 1)
    assert bucket.allowance(START + 1) == 1


def test_a_clock_that_stands_still_gives_nothing_twice() -> None:
    bucket = TokenBucket(5, 3, now=START)
    bucket.take(bucket.allowance(START), START)
    assert bucket.allowance(START) == 0
    assert bucket.allowance(START - 1) == 0


def filled(counts: dict[str, int], **options: object) -> Lanes[str, tuple[str, int]]:
    lanes = Lanes[str, tuple[str, int]](**options)  # type: ignore[arg-type]
    for sender, count in counts.items():
        for number in range(count):
            lanes.push(sender, (sender, number))
    return lanes


def cost(item: tuple[str, int]) -> int:
    return 1 + item[1] % 7


senders = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 80), min_size=1)


@given(
    senders,
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
    st.booleans(),
    st.sampled_from([None, 0.5, 30.0]),
    st.sampled_from([None, 1.0, 40.0]),
)
def test_nothing_is_lost_or_doubled_and_each_senders_order_is_kept(
    counts: dict[str, int], batches: list[int], priced: bool, carrier: float | None, sender: float | None
) -> None:
    buckets = {name: TokenBucket(sender, now=START) for name in "ab"} if sender else {}
    lanes = filled(
        counts,
        bucket=TokenBucket(carrier, now=START) if carrier else None,
        limit=buckets.get,
        cost=cost if priced else None,
    )
    now, taken, turn = START, list[tuple[str, int]](), 0
    while lanes:
        count = batches[turn % len(batches)]
        turn += 1
        got = lanes.take(count, now)
        assert len(got) <= count
        if turn % 5 == 0:  # the carrier would not have them
            for item in reversed(got):
                lanes.push_front(item[0], item)
        else:
            taken += got
        if not got:
            at = lanes.next_at(now)
            assert at is not None
            assert at > now
            now = at
    assert lanes.next_at(now) is None
    for name, total in counts.items():
        assert [item for item in taken if item[0] == name] == [(name, number) for number in range(total)]


@given(st.lists(st.integers(1, 25), min_size=1, max_size=30), st.booleans(), st.integers(1, 12))
def test_of_two_waiting_senders_neither_is_far_ahead(batches: list[int], priced: bool, quantum: int) -> None:
    lanes = filled({"a": 500, "b": 500, "c": 500}, cost=cost if priced else None, quantum=quantum)
    served: dict[str, int] = defaultdict(int)
    for count in batches:
        for item in lanes.take(count, START):
            served[item[0]] += cost(item) if priced else 1
        amounts = [served[name] for name in "abc"]
        assert max(amounts) - min(amounts) <= 2 * quantum + (7 if priced else 1)


def test_a_late_comer_does_not_wait_behind_a_campaign() -> None:
    lanes = filled({"campaign": 10_000})
    lanes.take(50, START)
    lanes.push("code", ("code", 0))
    assert ("code", 0) in lanes.take(11, START)


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 50)), min_size=1, max_size=60), st.floats(1, 60), st.booleans()
)
def test_the_carriers_rate_is_never_exceeded(steps: list[tuple[float, int]], rate: float, priced: bool) -> None:
    lanes = filled(
        {"a": 3_000, "b": 3_000}, bucket=TokenBucket(rate, now=START), cost=(lambda _: 3) if priced else None
    )
    now, sent = START, list[tuple[float, int]]()
    for gap, count in steps:
        now += gap
        sent.append((now, (3 if priced else 1) * len(lanes.take(count, now))))
    burst = max(rate / 10, 3 if priced else 1)
    for first, (since, _) in enumerate(sent):
        for last in range(first, len(sent)):
            until = sent[last][0]
            assert sum(each for _, each in sent[first : last + 1]) <= burst + 2 + rate * (until - since) + 1e-3


def test_a_limited_sender_holds_no_other_up() -> None:
    slow = TokenBucket(1, now=START)
    lanes = filled({"slow": 5, "quick": 30}, limit={"slow": slow}.get)
    assert [item for item in lanes.take(100, START) if item[0] == "slow"] == [("slow", 0)]
    assert len(lanes) == 4
    at = lanes.next_at(START)
    assert at is not None
    assert at == pytest.approx(START + 1, abs=0.001)
    assert lanes.take(100, START + 0.5) == []
    assert lanes.take(100, at) == [("slow", 1)]


def test_two_carriers_share_a_senders_bucket() -> None:
    shared = TokenBucket(10, 3, now=START)
    north, south = (filled({"a": 10}, limit=lambda _: shared) for _ in range(2))
    assert len(north.take(2, START)) == 2
    assert len(south.take(9, START)) == 1
    assert north.take(9, START) == []
    assert len(south.take(9, START + 1)) == 3


def test_a_sender_whose_limit_is_lifted_is_served_at_once() -> None:
    buckets = {"a": TokenBucket(0.01, now=START)}
    lanes = filled({"a": 3}, limit=buckets.get)
    assert len(lanes.take(5, START)) == 1
    buckets.clear()
    assert lanes.take(5, START) == []
    lanes.retuned()
    assert len(lanes.take(5, START)) == 2


def test_all_can_be_taken_away_at_once() -> None:
    lanes = filled({"a": 3, "b": 2}, limit={"a": TokenBucket(1, now=START)}.get)
    lanes.take(3, START)
    rest = list(lanes)
    assert lanes.remove_all() == rest
    assert (len(lanes), bool(lanes), lanes.take(9, START + 9), lanes.next_at(START)) == (0, False, [], None)
    lanes.push("a", ("a", 9))
    assert lanes.take(9, START + 9) == [("a", 9)]


def test_a_message_dearer_than_the_burst_goes_and_is_paid_for_afterwards() -> None:
    lanes = Lanes[str, int](bucket=TokenBucket(2, now=START), cost=lambda item: item)
    for segments in (5, 1):
        lanes.push("a", segments)
    assert lanes.take(9, START) == [5]
    at = lanes.next_at(START)
    assert at is not None
    assert at == pytest.approx(START + 2.5, abs=0.001)
    assert lanes.take(9, at) == [1]


HOUR_S = 3600.0


def test_a_bucket_whose_clock_is_set_back_goes_on_at_its_rate() -> None:
    bucket = TokenBucket(10.0, now=HOUR_S)
    bucket.take(1, HOUR_S)
    assert bucket.allowance(0.0) == 0  # what passed is not known, and gives nothing
    assert bucket.next_at(0.0) == pytest.approx(0.1, abs=0.001)
    assert bucket.allowance(0.11) == 1


def test_an_instant_read_a_little_earlier_gives_nothing_twice() -> None:
    bucket = TokenBucket(1.0, now=HOUR_S)
    bucket.take(1, HOUR_S)
    for _ in range(100):
        assert bucket.allowance(HOUR_S - 0.4) == 0
        assert bucket.allowance(HOUR_S + 0.5) == 0
    assert bucket.allowance(HOUR_S + 1.0) == 1


def test_a_sender_that_waited_when_the_clock_was_set_back_waits_no_longer() -> None:
    buckets = {"a": TokenBucket(10.0, now=HOUR_S)}
    lanes = Lanes[str, int](limit=buckets.get)
    for item in range(3):
        lanes.push("a", item)
    assert lanes.take(9, HOUR_S) == [0]
    assert lanes.take(9, 0.0) == []
    assert lanes.next_at(0.0) == pytest.approx(0.1, abs=0.001)
    assert lanes.take(9, 0.11) == [1]


@given(senders, st.data(), st.sampled_from([None, 1.0]))
def test_what_is_taken_back_goes_to_nobody_and_all_else_does_in_its_order(
    counts: dict[str, int], data: st.DataObject, sender: float | None
) -> None:
    buckets = {name: TokenBucket(sender, now=START) for name in "ab"} if sender else {}
    lanes = filled(counts, limit=buckets.get, quantum=2)
    taken = lanes.take(data.draw(st.integers(0, 20)), START)
    waiting = list(lanes)
    gone = data.draw(st.lists(st.sampled_from(waiting), unique=True, max_size=20)) if waiting else []
    assert [lanes.remove(item[0], item) for item in gone] == [True] * len(gone)
    assert not any(lanes.remove(item[0], item) for item in [*gone, *taken, ("z", 0)])
    left, now = [item for item in waiting if item not in gone], START
    assert list(lanes) == left
    while (at := lanes.next_at(now)) is not None:
        now = at
        taken += lanes.take(7, now)
    for name, total in counts.items():
        wanted = [(name, number) for number in range(total) if (name, number) not in gone]
        assert [item for item in taken if item[0] == name] == wanted


def test_what_is_taken_back_while_its_sender_waits_for_its_pace_leaves_nothing_that_waits() -> None:
    lanes = filled({"slow": 2}, limit={"slow": TokenBucket(1, now=START)}.get)
    assert lanes.take(9, START) == [("slow", 0)]
    (last,) = lanes
    assert lanes.remove("slow", last)
    assert (lanes.next_at(START), lanes.paced(), lanes.sizes(), lanes.size("slow")) == (None, set(), {}, 0)
    assert lanes.take(9, START + 9) == []


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=60), st.floats(0.05, 20), st.booleans())
def test_what_was_taken_and_is_not_sent_is_others_turn(
    steps: list[tuple[float, bool]], rate: float, of_carrier: bool
) -> None:
    """It goes no slower for it, nor faster than the rate."""
    bucket = TokenBucket(rate, 2, now=START)
    lanes = filled({"a": 500}, bucket=bucket if of_carrier else None, limit=None if of_carrier else lambda _: bucket)
    now, sent = START, list[float]()
    for gap, halted in steps:
        now += gap
        taken = lanes.take(9, now)
        if halted and taken:
            lanes.give_back("a", taken, now)
            taken = lanes.take(len(taken), now)
            assert taken, "its turn is there at once"
        sent += [now] * len(taken)
    for first, since in enumerate(sent):
        for last, until in enumerate(sent[first:], first):
            assert last - first + 1 <= 2 + rate * (until - since) + 1e-3
