"""The bookkeeping of blocks in memory: when they are finished, when they wait for reports."""

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Submission
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model.crowds import Crowd
from landline.services.sms.room import CROWDS, DUE, NEW

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BLOCK = uuid4()


def pending(block: UUID = BLOCK, *, claim: UUID | None = None) -> Pending:
    submission = Submission(UUID(bytes=os.urandom(16)), "+18005550100", "+14255550123", "hi", 1, report_wanted=True)
    resource = ResourceId(uuid4())
    return Pending(resource, block, "simulated", submission, NOW, NOW + timedelta(hours=12), claim=claim)


def handover(limit: int = 100) -> HandOver:
    made = HandOver(limit=limit)
    made.serve("simulated", lambda: None)
    return made


def test_a_block_is_finished_when_its_last_message_ended():
    hands = handover()
    first, second = pending(), pending()
    hands.take(BLOCK, [first, second])
    hands.answered([first.submission.key, second.submission.key])
    assert hands.finished() == []
    assert list(hands.awaiting()) == [BLOCK]
    hands.ended([BLOCK])
    assert hands.finished() == []
    hands.ended([BLOCK])
    assert hands.finished() == [BLOCK]


def test_a_block_wants_to_be_looked_at_when_the_first_of_its_reports_is_due():
    hands = handover()
    soon = replace(pending(), report_by=NOW + timedelta(minutes=1))
    messages = [pending(), soon, pending()]
    hands.take(BLOCK, messages)
    hands.answered([message.submission.key for message in messages])
    assert hands.awaiting() == {BLOCK: soon.report_by}
    hands.take(BLOCK, [messages[0]], awaiting=1, report_by=soon.report_by)
    hands.answered([messages[0].submission.key])
    assert hands.awaiting() == {BLOCK: soon.report_by}


def test_a_receipt_before_the_answer_does_not_finish_the_block_early():
    hands = handover()
    message = pending()
    hands.take(BLOCK, [message])
    hands.ended([BLOCK])
    assert hands.finished() == []
    hands.answered([message.submission.key])
    assert hands.finished() == [BLOCK]


def test_a_block_without_messages_is_finished_at_once():
    hands = handover()
    hands.take(BLOCK, [])
    assert hands.finished() == [BLOCK]


def test_blocks_that_wait_for_reports_are_forgotten_though_an_older_one_waits_for_its_carrier():
    """Else a carrier that is down for a day fills the memory with what went to the others meanwhile."""
    hands = HandOver(remembered_blocks=2)
    hands.serve("simulated", lambda: None)
    waits = uuid4()
    hands.take(waits, [pending(waits)])
    blocks = [uuid4() for _ in range(5)]
    for block in blocks:
        message = pending(block)
        hands.take(block, [message])
        hands.answered([message.submission.key])
        assert list(hands.awaiting()) == [block]
    hands.ended(blocks)
    assert hands.finished() == blocks[-1:]
    assert hands.held() == {waits}


def test_what_a_carrier_did_not_take_is_next_again_in_the_same_order_of_each_sender():
    hands = handover()
    resource = ResourceId(uuid4())
    messages = [replace(pending(), resource=resource) for _ in range(5)]
    hands.take(BLOCK, messages)
    batch = hands.next("simulated", 3, NOW)
    hands.put_back("simulated", batch)
    assert hands.next("simulated", 5, NOW) == messages


def test_a_crowd_may_have_as_much_of_memory_as_it_leaves_free():
    hands, shop, sender = handover(), ResourceId(uuid4()), "+18005550100"

    def take(count: int, resource: ResourceId) -> None:
        block = uuid4()
        hands.take(block, [replace(pending(block), resource=resource) for _ in range(count)])

    def crowd(resource: ResourceId) -> Crowd | None:
        return hands.room.crowd("simulated", (resource, sender), 1)

    take(49, shop)
    assert (hands.room.pressed, crowd(shop)) == (False, None)
    take(1, shop)
    assert (hands.room.pressed, crowd(shop)) == (True, Crowd("simulated", (shop, sender)))
    other = ResourceId(uuid4())
    assert crowd(other) is None
    take(24, other)
    assert crowd(other) is None
    take(1, other)
    assert crowd(other) == Crowd("simulated", (other, sender))


def test_there_is_no_room_beyond_the_limits_nor_for_an_unknown_carrier():
    hands = handover(limit=2)
    assert not hands.may_hold({"elsewhere"})
    for taken in (0, 2, 4):
        room = [hands.room.is_there(limits) for limits in (1, CROWDS, DUE, NEW)]
        assert room == [taken < 2, taken < 4, taken < 5, True]
        assert hands.may_hold({"simulated"})
        hands.take(uuid4(), [pending(), pending()])
    assert not hands.may_hold({"simulated"})


@given(st.lists(st.sampled_from(["answer", "end"]), max_size=20), st.integers(1, 6))
def test_a_block_is_finished_exactly_once_whatever_the_order(steps: list[str], count: int):
    hands = handover()
    messages = [pending() for _ in range(count)]
    hands.take(BLOCK, messages)
    answers, ends = list(messages), count
    finished = 0
    for step in [*steps, *(["answer", "end"] * count)]:
        if step == "answer" and answers:
            hands.answered([answers.pop().submission.key])
        elif step == "end" and ends:
            ends -= 1
            hands.ended([BLOCK])
        finished += len(hands.finished())
    assert finished == 1
    assert hands.count == 0


def test_a_message_that_left_its_block_without_our_learning_of_it_leaves_it_when_it_is_claimed():
    hands = handover()
    message, claim = pending(), uuid4()
    hands.take(BLOCK, [message])
    hands.take_alone(claim, [replace(message, claim=claim)])
    assert hands.finished() == [BLOCK]
    hands.answered([message.submission.key])
    assert (hands.finished(), hands.finished_claims(), hands.count) == ([], [claim], 0)


def test_a_message_that_was_claimed_before_its_leaving_was_told_leaves_its_block_once():
    """It is put off in a commit, and due at once: who looks for work may find it before the commit's answer is here."""
    hands, claim = handover(), uuid4()
    message, other = pending(), pending()
    hands.take(BLOCK, [message, other])
    hands.take_alone(claim, [replace(message, claim=claim)])
    hands.leave([message])
    hands.answered([other.submission.key])
    assert (hands.finished(), list(hands.awaiting())) == ([], [BLOCK])
    hands.ended([BLOCK])
    assert hands.finished() == [BLOCK]


def test_what_ended_before_its_block_was_read_again_does_not_count_in_it():
    """A commit may be made, and its answer be here only when the block was read without what ended in it."""
    hands = handover()
    message = pending()
    hands.take(BLOCK, [message], awaiting=1)
    began = hands.taken
    hands.lose({BLOCK})
    hands.take(BLOCK, [pending()])
    hands.ended([BLOCK], since=began)
    hands.answered(list(hands._in_hand))
    assert (hands.finished(), list(hands.awaiting())) == ([], [BLOCK])
    hands.ended([BLOCK], since=hands.taken)
    assert hands.finished() == [BLOCK]


def test_an_answer_to_what_its_block_was_read_again_without_does_not_count_in_it():
    hands = handover()
    message, other = pending(), pending()
    hands.take(BLOCK, [message, other])
    message.handed = True
    hands.next("simulated", 1, NOW)
    hands.lose({BLOCK})
    hands.take(BLOCK, [other], awaiting=1)
    hands.answered([message.submission.key])
    assert hands.held() == {BLOCK}
    hands.answered([other.submission.key])
    assert (hands.held(), list(hands.awaiting())) == (set(), [BLOCK])


def test_a_message_on_its_way_is_not_queued_again_when_it_is_claimed():
    hands = handover()
    message, claim = pending(), uuid4()
    hands.take(BLOCK, [message])
    hands.next("simulated", 1, NOW)
    message.handed = True
    hands.take_alone(claim, [replace(message, claim=claim, handed=False)])
    assert hands.next("simulated", 1, NOW) == []
    hands.answered([message.submission.key])
    assert (hands.finished(), hands.finished_claims()) == ([BLOCK], [claim])


def test_what_a_carrier_may_have_is_not_withdrawn():
    hands = handover()
    claim = uuid4()
    handed, waiting = pending(claim=claim), pending(claim=claim)
    hands.take_alone(claim, [handed, waiting])
    handed.handed = True
    hands.withdraw([handed.submission.key, waiting.submission.key, uuid4()])
    assert hands.in_hand(handed.submission.key) is handed
    assert hands.in_hand(waiting.submission.key) is None
    hands.answered([handed.submission.key])
    assert hands.finished_claims() == [claim]


def test_what_is_late_leaves_the_queue_and_the_others_keep_their_order():
    hands, rung = handover(), list[datetime]()
    hands.on_late = lambda: rung.append(hands.late_at or NOW)
    messages = [pending() for _ in range(4)]
    for message, minutes in zip(messages, (60, 1, 60, 2), strict=True):
        message.report_by = NOW + timedelta(minutes=minutes)
    hands.take(BLOCK, messages[:1])
    hands.take(BLOCK, messages[1:])
    assert rung == [NOW + timedelta(hours=1), NOW + timedelta(minutes=1)]
    assert hands.late(NOW + timedelta(seconds=59)) == []
    assert hands.late(NOW + timedelta(seconds=60)) == [messages[1]]
    assert hands.late_at == NOW + timedelta(minutes=2)
    assert hands.still_in_hand(messages) == messages
    assert hands.late(NOW + timedelta(minutes=3)) == [messages[3]]
    assert hands.next("simulated", 10, NOW) == [messages[0], messages[2]]


def test_what_is_put_back_is_late_in_its_time():
    hands = handover()
    message = pending()
    message.report_by = NOW + timedelta(minutes=1)
    hands.take(BLOCK, [message])
    taken = hands.next("simulated", 10, NOW)
    assert hands.late(NOW + timedelta(minutes=1)) == []
    assert hands.late_at is None
    hands.put_back("simulated", taken)
    assert hands.late_at == NOW + timedelta(minutes=1)
    assert hands.late(NOW + timedelta(minutes=1)) == [message]
