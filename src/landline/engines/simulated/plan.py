"""What one batch of submissions leads to: rows to write, answers to give, receipts and replies to come. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from landline.engines.simulated.model import PROMPT, Point, Turn
from landline.ports.sms_carrier import Submission, Submitted


class Taken(Struct, frozen=True):
    """A message the carrier took before."""

    code: int | None
    report_at: datetime
    expires_at: datetime | None


@dataclass(slots=True)
class Receipts:
    """Receipts that are due together; three lists of one length."""

    keys: list[UUID] = field(default_factory=list[UUID])
    codes: list[int] = field(default_factory=list[int])
    segments: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Reply:
    """A text that a handset will send."""

    key: str
    due_at: datetime
    handset: str
    recipient: str
    text: str


MessageRow = tuple[
    UUID, str, str, str, int, int, datetime | None, datetime | None, int | None, datetime
]  # in the order of `records.MESSAGE_COLUMNS`


@dataclass(slots=True)
class Plan:
    """See the module. `receipts` are by due instant and, while held, the handset they wait for."""

    answers: list[Submitted] = field(default_factory=list[Submitted])
    refusals: list[tuple[datetime, Submitted]] = field(default_factory=list[tuple[datetime, Submitted]])
    """Answers that are given only later."""
    rows: list[MessageRow] = field(default_factory=list[MessageRow])
    receipts: dict[tuple[datetime, str | None], Receipts] = field(
        default_factory=dict[tuple[datetime, str | None], Receipts]
    )
    replies: list[Reply] = field(default_factory=list[Reply])
    shown: list[str] = field(default_factory=list[str])
    """Handsets that got a message, once for each."""

    def receipt(self, due_at: datetime, held_for: str | None, key: UUID, code: int, segments: int) -> None:
        receipts = self.receipts.get((due_at, held_for))
        if receipts is None:
            receipts = self.receipts[due_at, held_for] = Receipts()
        receipts.keys.append(key)
        receipts.codes.append(code)
        receipts.segments.append(segments)


def plan(batch: Sequence[Submission], before: dict[UUID, Taken], first: int, turn: Turn, now: datetime) -> Plan:
    """`before` holds those of the batch that were taken before; `first` is the first of its places."""
    plan = Plan()
    known: dict[UUID, Taken] = dict(before)
    for position, submission in enumerate(batch, first):
        taken = known.get(submission.key)
        if taken is not None:
            _repeat(plan, submission, taken, now)
            continue
        taken = _take(plan, submission, position, turn, now)
        if taken is not None:
            known[submission.key] = taken
    return plan


def _repeat(plan: Plan, submission: Submission, taken: Taken, now: datetime) -> None:
    """Handed over again: the same answer, and the receipt again, which may have come while nobody knew its id."""
    plan.answers.append(Submitted(submission.key, str(submission.key)))
    if taken.code is not None:
        held_for = submission.recipient if taken.expires_at is not None and taken.expires_at > now else None
        due_at = max(taken.report_at, now)
        plan.receipt(due_at, held_for, submission.key, taken.code, submission.segments)


def _take(plan: Plan, submission: Submission, position: int, turn: Turn, now: datetime) -> Taken | None:
    key, handset = submission.key, submission.recipient
    fate = turn.decide(handset)
    report_at = now if fate is PROMPT else now + timedelta(seconds=fate.after_s)
    if fate.point is Point.SUBMIT:
        answer = Submitted(key, None, fate.code or 0, fate.temporary, "refused by the simulated carrier")
        if report_at > now:
            plan.refusals.append((report_at, answer))
        else:
            plan.answers.append(answer)
        return None
    code = fate.code if submission.report_wanted else None
    expires_at = report_at if fate.held else None
    received_at = now if fate.shown else None
    sender, text, segments = submission.sender, submission.text, submission.segments
    plan.rows.append((key, handset, sender, text, segments, position, received_at, expires_at, code, report_at))
    plan.answers.append(Submitted(key, str(key)))
    if code is not None:
        plan.receipt(report_at, handset if fate.held else None, key, code, segments)
    if received_at is not None:
        plan.shown.append(handset)
        answer_back(plan.replies, turn, key, handset, sender, now)
    return Taken(code, report_at, expires_at)


def answer_back(replies: list[Reply], turn: Turn, key: UUID, handset: str, sender: str, now: datetime) -> None:
    """Add the handset's reply to the message `key`, if it has one."""
    reply = turn.reply(handset, sender)
    if reply is not None:
        text, after_s = reply
        replies.append(Reply(f"reply-{key}", now + timedelta(seconds=after_s), handset, sender, text))
