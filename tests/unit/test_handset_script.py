"""Which messages the simulated carrier's rules fire on, and that a seed makes a run repeat."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.engines.simulated.model import PROMPT, Behaviour, Conduct, Fate, Handset, Point, Rule, Script
from landline.engines.simulated.plan import Taken, plan
from landline.ports.sms_carrier import Submission

A, B = "+14255550101", "+14255550102"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def fates(script: Script, recipients: Sequence[str], *, batch: int = 1) -> list[Fate]:
    """What becomes of messages to `recipients`, decided in batches of `batch`."""
    found: list[Fate] = []
    for start in range(0, len(recipients), batch):
        turn = script.turn()
        found += [turn.decide(recipient) for recipient in recipients[start : start + batch]]
        turn.keep()
    return found


def fired(script: Script, count: int) -> list[int]:
    """On which of `count` messages to B, counted from 1, something else than prompt delivery happens."""
    return [number for number, fate in enumerate(fates(script, [B] * count, batch=3), 1) if fate != PROMPT]


def test_the_third_message_to_a_number_fails_after_two_seconds() -> None:
    script = Script(1, rules=[Rule(B, 4006, nth=3, after_s=2)])
    failed = Fate(4006, after_s=2)
    assert fates(script, [B, A, B, A, A, B, B]) == [PROMPT] * 5 + [failed, PROMPT]
    assert (script.rules[0].seen, script.rules[0].fired) == (4, 1)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(B, 4006), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Rule(B, 4006, nth=2), [2]),
        (Rule(B, 4006, every=3), [3, 6]),
        (Rule(B, 4006, nth=1, every=3), [1, 4, 7]),
        (Rule(B, 4006, every=2, fires_limit=2), [2, 4]),
        (Rule("*", 4006, fires_limit=1), [1]),
        (Rule("+1425*", None, nth=8), [8]),
        (Rule("+1426*", 4006), []),
        (Rule("+1425", 4006), []),
        (Rule(B, 4006, rate=0.0), []),
        (Rule(B, 4006, rate=1.0), [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_a_rule_fires_on_the_messages_it_names(rule: Rule, expected: list[int]) -> None:
    assert fired(Script(1, rules=[rule]), 8) == expected


def test_the_first_rule_that_fires_decides_and_all_that_match_count() -> None:
    script = Script(1, rules=[Rule("*", 4005, nth=2, rule_id=1), Rule(B, 4006, rule_id=2)])
    assert [fate.code for fate in fates(script, [B, B, B])] == [4006, 4005, 4006]
    assert [rule.seen for rule in script.rules] == [3, 3]


def test_a_turn_that_was_not_kept_has_counted_nothing() -> None:
    script = Script(1, rules=[Rule(B, 4006, nth=1)])
    assert script.turn().decide(B).code == 4006
    assert script.turn().decide(B).code == 4006


@given(st.integers(0, 2**63 - 1), st.lists(st.sampled_from([A, B]), max_size=40), st.integers(1, 7))
def test_a_seed_makes_a_run_repeat_whatever_the_batches(seed: int, recipients: list[str], batch: int) -> None:
    rules = [Rule("*", 4005, rate=0.4, after_s=1, jitter_s=3), Rule("+1*", 5001, rate=0.5, rule_id=1)]
    handsets = [Handset(A, Behaviour(Conduct.SLOW, 1, jitter_s=1))]
    once = fates(Script(seed, handsets, rules), recipients)
    assert fates(Script(seed, handsets, rules), recipients, batch=batch) == once
    apart = {number: iter(fates(Script(seed, handsets, rules), [to for to in recipients if to == number]))
             for number in (A, B)}  # fmt: skip
    assert [next(apart[recipient]) for recipient in recipients] == once


def test_rates_and_jitter_are_about_what_they_say_and_differ_by_seed() -> None:
    def run(seed: int) -> list[Fate]:
        return fates(Script(seed, rules=[Rule("*", 4006, rate=0.25, after_s=2, jitter_s=4)]), [B] * 2000)

    failed = [fate for fate in run(1) if fate.code == 4006]
    assert 400 < len(failed) < 600
    assert all(2 <= fate.after_s <= 6 for fate in failed)
    assert 3.5 < sum(fate.after_s for fate in failed) / len(failed) < 4.5
    assert run(1) != run(2)


@pytest.mark.parametrize(
    ("behaviour", "fate"),
    [
        (Behaviour(), PROMPT),
        (Behaviour(Conduct.SLOW, 5), Fate(2000, after_s=5)),
        (Behaviour(Conduct.LANDLINE), Fate(4006)),
        (Behaviour(Conduct.ROAMING, 60), Fate(4006, after_s=60, held=True)),
        (Behaviour(Conduct.REJECTS, code=4005), Fate(4005)),
        (Behaviour(Conduct.REJECTS, 1, code=4008, point=Point.SUBMIT), Fate(4008, Point.SUBMIT, 1)),
        (Behaviour(Conduct.SILENT), Fate(None)),
    ],
)
def test_without_a_rule_the_handset_decides(behaviour: Behaviour, fate: Fate) -> None:
    assert fates(Script(1, [Handset(B, behaviour)]), [B, A]) == [fate, PROMPT]


def submission(recipient: str = B, *, key: UUID | None = None, report_wanted: bool = True) -> Submission:
    return Submission(key or uuid4(), "+18005550100", recipient, "hello", 1, report_wanted)


def test_a_message_taken_before_is_answered_and_reported_but_not_written_or_counted() -> None:
    given = submission()
    script = Script(1, rules=[Rule(B, 4006, nth=1)])
    before = {given.key: Taken(2000, NOW - timedelta(seconds=9), None)}
    turn = script.turn()
    planned = plan([given, submission(A, key=given.key)], before, 10, turn, NOW)
    turn.keep()
    assert (planned.rows, planned.shown, script.rules[0].seen) == ([], [], 0)
    assert [answer.carrier_message_id for answer in planned.answers] == [str(given.key)] * 2
    assert planned.receipts[NOW, None].keys == [given.key] * 2


def test_the_same_message_twice_in_one_batch_is_written_once() -> None:
    given = submission()
    planned = plan([given, given], {}, 1, Script(1).turn(), NOW)
    assert len(planned.rows) == 1
    assert len(planned.answers) == 2


def test_receipts_due_together_share_a_row_and_held_ones_wait_by_handset() -> None:
    handsets = [Handset(A, Behaviour(Conduct.ROAMING, 60)), Handset(B, Behaviour(Conduct.SLOW, 5))]
    batch = [submission(A), submission(A), submission(B), submission("+14255550103"), submission("+14255550104")]
    planned = plan([*batch, submission(report_wanted=False)], {}, 1, Script(1, handsets).turn(), NOW)
    assert {due: len(receipts.keys) for due, receipts in planned.receipts.items()} == {
        (NOW + timedelta(seconds=60), A): 2,
        (NOW + timedelta(seconds=5), None): 1,
        (NOW, None): 2,
    }


def test_replies_come_in_turn_and_never_to_a_sender_name() -> None:
    handset = Handset(B, Behaviour(replies=("yes", "no"), reply_after_s=3))
    named = Submission(uuid4(), "SHOP", B, "hello", 1, True)
    planned = plan(
        [submission(), submission(), submission(A), named, submission()], {}, 1, Script(1, [handset]).turn(), NOW
    )
    assert [reply.text for reply in planned.replies] == ["yes", "no", "yes"]
    assert {reply.due_at for reply in planned.replies} == {NOW + timedelta(seconds=3)}
