"""The guard's decisions: countries, velocity by recipient and prefix, numbers in a row, and what is remembered."""

from collections import Counter
from collections.abc import Sequence
from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.countries import country
from landline.services.sms.model import guard
from landline.services.sms.model import settings as model
from landline.services.sms.model.caps import Budget, Needs, Period, Purse
from landline.services.sms.model.guard import DAY_S, Rule, Rules, Verdict, Watch
from landline.services.sms.model.settings import Rates, SmsSettings

START = 1_000.0
DEFAULTS = model.defaults(guarded=True, countries=("*",))
OFF = guard.rules(model.defaults(guarded=False, countries=("*",)), 1)
country = country


def settings(**document: object) -> SmsSettings:
    return msgspec.convert(model.merged(msgspec.to_builtins(DEFAULTS), document), SmsSettings)


def rules(*, share: int = 1, **document: object) -> Rules:
    return guard.rules(settings(**document), share)


def judge(watch: Watch, recipients: Sequence[str], by: Rules, now: float = START) -> list[Verdict | None]:
    return watch.judge(recipients, by, now, country)


def blocked(verdicts: Sequence[Verdict | None]) -> list[Rule | None]:
    return [verdict.rule if verdict else None for verdict in verdicts]


def rates(minute: int, hour: int = 100_000, day: int = 100_000) -> dict[str, int]:
    return {"minute": minute, "hour": hour, "day": day}


NO_SEQUENCES = {"enabled": False}
PER_RECIPIENT = rules(velocity={"perRecipient": rates(2, 3, 4)}, sequential=NO_SEQUENCES)
PER_PREFIX = rules(velocity={"perPrefix": rates(3), "prefixDigits": 8}, sequential=NO_SEQUENCES)
IN_A_ROW = rules(velocity={"enabled": False}, sequential={"run": 4, "windowSeconds": 60})


def test_a_destination_that_is_not_allowed_is_unsupported() -> None:
    by = rules(allowedCountries=["US", "DE"])
    numbers = ["+14255550100", "+4915112345678", "+18765550100", "+447911123456", "+870773111632", "+9991234567"]
    verdicts = judge(Watch(START, 1 << 20), numbers, by)
    assert [verdict.code if verdict else None for verdict in verdicts] == [None, None, 4003, 4003, 4003, 4003]
    assert verdicts[2] is not None
    assert "JM" in verdicts[2].reason


def test_numbers_of_no_country_can_be_allowed() -> None:
    assert blocked(judge(Watch(START, 1 << 20), ["+870773111632"], rules(allowedCountries=["ZZ"]))) == [None]


def test_no_country_allowed_lets_nothing_through() -> None:
    assert blocked(judge(Watch(START, 1 << 20), ["+14255550100"], rules(allowedCountries=[]))) == [Rule.COUNTRY]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+14255550100", "US"),
        ("+15551234567", "US"),
        ("+16135550100", "CA"),
        ("+18765550100", "JM"),
        ("+447400123456", "GB"),
        ("+447797123456", "JE"),
        ("+77012345678", "KZ"),
        ("+79161234567", "RU"),
        ("+262639012345", "YT"),
        ("+262692123456", "RE"),
        ("+3934712", "IT"),
        ("+35312345678", "IE"),
        ("+9991234567", "ZZ"),
        ("+883510012345", "ZZ"),
    ],
)
def test_the_country_of_a_number(number: str, expected: str) -> None:
    assert country(number) == expected
    assert country(number) == expected  # from what is remembered


def test_each_window_of_a_recipient_lets_through_what_it_says() -> None:
    watch = Watch(START, 1 << 20)
    instants = [0, 1, 2, 59.75, 60, 61, 3_599.75, 3_600, DAY_S - 1, DAY_S]
    passed = [at for at in instants if judge(watch, ["+14255550100"], PER_RECIPIENT, START + at) == [None]]
    # two in the first minute, one more in the first hour, one more in the first day, one when the first is a day old
    assert passed == [0, 1, 60, 3_600, DAY_S]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=40))
def test_what_was_let_pass_and_not_sent_is_as_if_it_had_never_been_asked_for(
    asked: list[tuple[int, bool, bool]],
) -> None:
    """Neither here nor in another process, which hears of both."""
    by = rules(velocity={"perRecipient": rates(3), "perPrefix": rates(6), "prefixDigits": 8}, sequential=NO_SEQUENCES)
    watch, other, wanted = (Watch(START, 1 << 20) for _ in range(3))
    for second, (number, twice, in_vain) in enumerate(asked):
        phones, now = [f"+1425555010{number}"] * (1 + twice), START + second
        verdicts = judge(watch, phones, by, now)
        passed = [phone for phone, verdict in zip(phones, verdicts, strict=True) if verdict is None]
        sent = guard.Sent(
            by.prefix_length, by.most_per_recipient, by.most_per_prefix, [int(each) for each in passed], []
        )
        other.heard(sent, now)
        if in_vain:
            watch.undo(passed, by, now)
            other.undone(sent)
        else:
            assert verdicts == judge(wanted, phones, by, now)
        assert watch.size_bytes == other.size_bytes
    if all(in_vain for _, _, in_vain in asked):
        assert watch.size_bytes == 0
    last = [f"+1425555010{number}" for number in range(4)]
    assert blocked(judge(other, last, by, START + 41)) == blocked(judge(wanted, last, by, START + 41))


def test_a_prefix_is_slowed_and_says_so() -> None:
    verdicts = judge(
        Watch(START, 1 << 20), [f"+1425555{line}" for line in ("0100", "0207", "0399", "0501", "1501")], PER_PREFIX
    )
    assert blocked(verdicts) == [None, None, None, Rule.PREFIX, None]
    assert verdicts[3] is not None
    assert (verdicts[3].code, verdicts[3].reason) == (
        4008,
        "the limit of 3 a minute to numbers that begin with +14255550 is reached",
    )


@given(st.lists(st.tuples(st.integers(0, 400).map(lambda eighths: eighths / 8), st.integers(0, 5)), max_size=80))
def test_no_window_of_a_prefix_has_more_than_its_limit(sends: list[tuple[float, int]]) -> None:
    by = rules(velocity={"perPrefix": {"minute": 3, "hour": 7, "day": 9}}, sequential=NO_SEQUENCES)
    watch, now = Watch(START, 1 << 20), START
    passed: list[float] = []
    for pause_s, line in sends:
        now += pause_s * (1 + 40 * line)
        if judge(watch, [f"+1425555{7 * line:04d}"], by, now) == [None]:
            passed.append(now)
        else:
            last = [sum(1 for at in passed if at > now - window) for window in (60, 3_600, DAY_S)]
            assert last[0] >= 3 or last[1] >= 7 or last[2] >= 9, "blocked though no limit was reached"
    for end in passed:
        for window, limit in ((60, 3), (3_600, 7), (DAY_S, 9)):
            assert sum(1 for at in passed if end - window < at <= end) <= limit


@given(st.permutations([f"+1425555{line:04d}" for line in range(0, 60, 7)]))
def test_how_many_of_a_prefix_pass_does_not_depend_on_their_order(numbers: list[str]) -> None:
    assert blocked(judge(Watch(START, 1 << 20), numbers, PER_PREFIX)).count(None) == 3


def test_who_is_blocked_costs_the_others_nothing() -> None:
    watch = Watch(START, 1 << 20)
    by = rules(
        velocity={"perRecipient": rates(1), "perPrefix": rates(3)}, sequential=NO_SEQUENCES, allowedCountries=["US"]
    )
    for _ in range(50):
        judge(watch, ["+14255550100", "+18765550100"], by)
    assert blocked(judge(watch, ["+14255550107", "+14255550114", "+14255550121"], by)) == [None, None, Rule.PREFIX]


def test_the_fourth_number_in_a_row_is_fraud_and_so_is_the_rest_of_the_row() -> None:
    verdicts = judge(Watch(START, 1 << 20), [f"+1425555{line:04d}" for line in range(100, 110)], IN_A_ROW)
    assert blocked(verdicts) == [None] * 3 + [Rule.SEQUENCE] * 7
    assert {verdict.code for verdict in verdicts if verdict} == {4000}


def test_the_rest_of_a_row_is_fraud_though_it_was_sent_to_before() -> None:
    watch = Watch(START, 1 << 20)
    row = [f"+1425555{line:04d}" for line in range(100, 110)]
    for step, number in enumerate(row * 2):  # each long after the one before
        assert blocked(judge(watch, [number], IN_A_ROW, START + 60 * step)) == [None]
    later = START + 3_600
    assert blocked(judge(watch, row, IN_A_ROW, later)) == [None] * 3 + [Rule.SEQUENCE] * 7
    assert blocked(judge(watch, row[4:], IN_A_ROW, later + 30)) == [Rule.SEQUENCE] * 6  # as they still ask for it
    assert blocked(judge(watch, row[4:], IN_A_ROW, later + 90)) == [None] * 3 + [Rule.SEQUENCE] * 3


def test_who_was_asked_for_in_a_row_has_had_no_more_texts_by_that() -> None:
    watch = Watch(START, 1 << 20)
    by = rules(velocity={"perRecipient": rates(100, 100, 2)}, sequential={"run": 3, "windowSeconds": 60})
    asked, *others = (f"+1425555{line:04d}" for line in range(100, 103))
    assert blocked(judge(watch, [asked], by)) == [None]
    assert blocked(judge(watch, [*others, asked, asked], by, START + 100)) == [None] * 2 + [Rule.SEQUENCE] * 2
    assert blocked(judge(watch, [asked, asked], by, START + 200)) == [None, Rule.RECIPIENT]
    assert blocked(judge(watch, [asked, others[1]], by, START + DAY_S)) == [None, None]


@given(st.permutations(list(range(20))), st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_no_row_is_ever_sent_to_in_any_order(lines: list[int], pauses_s: list[int]) -> None:
    watch, now, passed = Watch(START, 1 << 20), START, set[int]()
    for line, pause_s in zip(lines, pauses_s, strict=True):
        now += pause_s  # all of it within the window
        if judge(watch, [f"+1425555{line:04d}"], IN_A_ROW, now) == [None]:
            passed.add(line)
    assert passed
    assert not [line for line in range(20) if {line, line + 1, line + 2, line + 3} <= passed]


def test_a_row_is_forgotten_when_its_window_is_over() -> None:
    watch = Watch(START, 1 << 20)
    numbers = [f"+1425555{line:04d}" for line in range(8)]
    assert blocked(judge(watch, numbers, IN_A_ROW, START)) == [None] * 3 + [Rule.SEQUENCE] * 5
    assert blocked(judge(watch, numbers, IN_A_ROW, START + 59.75))[3:] == [Rule.SEQUENCE] * 5
    assert blocked(judge(watch, numbers, IN_A_ROW, START + 200)) == [None] * 3 + [Rule.SEQUENCE] * 5


def test_one_number_again_and_again_is_no_row() -> None:
    watch = Watch(START, 1 << 20)
    assert blocked(judge(watch, ["+14255550100", "+14255550101"] * 20, IN_A_ROW)) == [None] * 40


def test_full_blocks_what_is_left_in_order() -> None:
    purse = Purse(Period.DAY, "messages", date(2026, 1, 1), 10, left=2)
    budget = Budget([purse], Needs(3, 1, [0, 0, 0]))
    verdicts = Watch(START, 1 << 20).judge(
        ["+14255550100", "+14255550107", "+14255550114"], OFF, START, country, budget
    )
    assert verdicts == [None, None, Verdict(Rule.CAP, 4008, "the cap of 10 messages a day is reached")]
    assert purse.left == 0


def test_processes_share_velocity_but_never_block_the_first() -> None:
    by = rules(share=40, velocity={"perRecipient": rates(5, 20, 80)}, sequential=NO_SEQUENCES)
    assert [limit.messages for limit in by.per_recipient] == [1, 1, 2]
    watch = Watch(START, 1 << 20)
    assert blocked(judge(watch, ["+14255550100"] * 2, by)) == [None, Rule.RECIPIENT]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.lists(st.integers(0, 30), min_size=1, max_size=10)), max_size=30),
    st.sampled_from([PER_RECIPIENT, PER_PREFIX, IN_A_ROW, guard.rules(DEFAULTS, 1)]),
)
def test_the_same_calls_decide_the_same(calls: list[tuple[int, list[int]]], by: Rules) -> None:
    first, second, now = Watch(START, 1 << 20), Watch(START, 1 << 20), START
    for pause_s, lines in calls:
        now += pause_s
        numbers = [f"+1425555{line:04d}" for line in lines]
        assert judge(first, numbers, by, now) == judge(second, numbers, by, now)
        assert first.size_bytes == second.size_bytes


def test_what_is_older_than_a_day_is_forgotten_in_time() -> None:
    watch = Watch(START, 1 << 20)
    by = guard.rules(DEFAULTS, 1)
    for line in range(0, 10_000, 20):
        judge(watch, [f"+1425555{line:04d}"], by, START)
    full = watch.size_bytes
    judge(watch, ["+4915112345678"], by, START + DAY_S)
    judge(watch, ["+4915112345678"], by, START + 2 * DAY_S)
    assert watch.size_bytes < full / 50


def test_a_busy_prefix_keeps_no_more_than_its_limits_look_at() -> None:
    watch = Watch(START, 1 << 20)
    by = rules(velocity={"perPrefix": rates(100_000, 100_000, 200)}, sequential=NO_SEQUENCES)
    sent = Counter[Rule | None]()
    for step in range(20_000):
        sent.update(blocked(judge(watch, [f"+1425555{step % 10_000:04d}"], by, START + step * 432.0)))
    assert sent[None] == 20_000
    by_prefix = watch._prefixes.size_bytes
    assert by_prefix <= 10 * (guard.KEY_BYTES + guard.ARRAY_BYTES + 2 * 264 * guard.EVENT_BYTES)


def test_what_there_is_no_room_for_is_forgotten_the_older_half_first() -> None:
    watch = Watch(START, 100 * guard.KEY_BYTES)
    by = rules(velocity={"perRecipient": rates(1), "perPrefix": rates(100_000)}, sequential=NO_SEQUENCES)
    numbers = [f"+49151{10 * line:08d}" for line in range(200)]
    for number in numbers:
        assert blocked(judge(watch, [number], by)) == [None]
        assert watch.size_bytes <= 110 * guard.KEY_BYTES
    assert blocked(judge(watch, numbers[-25:], by)) == [Rule.RECIPIENT] * 25
    assert blocked(judge(watch, numbers[:25], by)) == [None] * 25


def test_raised_limits_hold_from_the_next_message_on() -> None:
    watch = Watch(START, 1 << 20)
    assert blocked(judge(watch, ["+14255550100"] * 3, PER_RECIPIENT)) == [None, None, Rule.RECIPIENT]
    raised = rules(velocity={"perRecipient": rates(5)}, sequential=NO_SEQUENCES)
    assert blocked(judge(watch, ["+14255550100"] * 4, raised)) == [None, None, None, Rule.RECIPIENT]


def test_defaults_are_rates_that_grow_with_their_windows() -> None:
    for found in (DEFAULTS.velocity.per_prefix, DEFAULTS.velocity.per_recipient):
        assert isinstance(found, Rates)
        assert found.minute <= found.hour <= found.day
