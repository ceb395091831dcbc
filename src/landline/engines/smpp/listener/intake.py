"""What a customer submits, on its way to the gateway: read, parts of long texts joined, made durable in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from landline.core import phone
from landline.core.errors import Refusal, TooMany, Unavailable
from landline.core.log_limit import LogLimit
from landline.engines.smpp.encoding import number_of
from landline.engines.smpp.listener import refusals
from landline.engines.smpp.listener.texts import Begun, Texts
from landline.engines.smpp.records import Whole
from landline.ports.clock import Clock
from landline.ports.esme_gateway import Account, Cancellation, CustomerSubmission, Gateway, ReportWish
from landline.protocols.smpp import status, texts, times
from landline.protocols.smpp.commands import Ton
from landline.protocols.smpp.joiner import GroupKey, TextPart, part_of
from landline.protocols.smpp.pdu import CancelSm, ShortMessage
from landline.protocols.smpp.texts import Alphabet

log = structlog.get_logger()

_WISH = 0x03  # §5.2.17: bits 1-0 of registered_delivery
_WISHES = {wish.value: wish for wish in ReportWish}


@dataclass(slots=True)
class Taken:
    """One submission that is not answered yet."""

    sequence: int
    message_id: str = ""
    """As the customer is told it."""
    status: int = status.ESME_ROK
    sender: str = ""
    recipient: str = ""
    text: str = ""
    part: TextPart | None = None
    anew: bool = False
    """Whether the customer knows that a text with this part was accepted: this is a part of another one."""
    wish: ReportWish = ReportWish.NEVER
    send_at: datetime | None = None
    valid_until: datetime | None = None


class Desk(Protocol):
    """What taking submissions needs of the listener."""

    gateway: Gateway
    clock: Clock
    line: Clock
    """Times what happens on the connections."""
    told: LogLimit

    def over_rate(self, account: Account, now: float) -> bool:
        """Whether one more submission is more than the account may make; it counts as made when not."""
        ...

    def take_on(self, count: int) -> bool:
        """Whether there is room for `count` more submissions, which then are in hand until `done`."""
        ...

    def done(self, count: int) -> None: ...

    def answering(self, messages: Sequence[UUID]) -> None:
        """`messages` are being accepted: no receipt of theirs goes out before `answered`."""
        ...

    def answered(self, messages: Sequence[UUID]) -> None:
        """Their submit_sm_resp went out, or never will."""
        ...

    def texts(self, account: Account) -> Texts: ...

    async def report_given_up(self, account: Account) -> None:
        """Have the receipts written of the account's long texts that came to nothing, now if that can be."""
        ...


def part_id(message_id: UUID, part: int) -> str:
    """The id that one part of a long text is told."""
    return f"{message_id.hex}-{part}"


def message_of(told: str) -> UUID | None:
    """The message that an id names which we told a customer; None when it is none of ours."""
    try:
        return UUID(told.partition("-")[0])
    except ValueError:
        return None


def named_by(cancel: CancelSm) -> Cancellation | None:
    """What `cancel` takes back; None when that is nothing that can be. Service types are not told apart."""
    sender = _sender_of(cancel.source_addr_ton, cancel.source_addr)
    recipient = number_of(cancel.dest_addr_ton, cancel.destination_addr)
    if cancel.message_id:
        message_id = message_of(cancel.message_id)
        return Cancellation(message_id, sender, recipient) if message_id is not None else None
    return Cancellation(None, sender, recipient) if sender and recipient else None


def _sender_of(ton: int, address: str) -> str:
    """The sender an address is. Clients have one TON for all their senders, and some leave it at "national": whose
    sender it is decides whether it may send, so that its digits may say what it is."""
    if ton not in (Ton.ALPHANUMERIC, Ton.INTERNATIONAL) and address.isdigit():
        return number_of(Ton.UNKNOWN, address)
    return number_of(ton, address)


def take(desk: Desk, account: Account, sequence: int, message: ShortMessage) -> Taken:
    """Read one submit_sm; what cannot be accepted has its status already."""
    now = desk.clock.now()
    sender = _sender_of(message.source_addr_ton, message.source_addr)
    recipient = number_of(message.dest_addr_ton, message.destination_addr)
    taken = Taken(sequence, sender=sender, recipient=recipient, wish=_WISHES[message.registered_delivery & _WISH])
    if desk.over_rate(account, desk.line.now().timestamp()):
        taken.status = status.ESME_RTHROTTLED
    elif phone.sender_kind(sender) is None:
        taken.status = status.ESME_RINVSRCADR
    elif phone.parse(recipient) is None:
        taken.status = status.ESME_RINVDSTADR
    elif message.sm_default_msg_id:
        taken.status = refusals.RINVDFTMSGID
    elif not texts.is_text(message.data_coding) or texts.is_for_port(message):
        taken.status = status.ESME_RSUBMITFAIL
    elif message.schedule_delivery_time or message.validity_period:
        _read_times(taken, message, now)
    if taken.status == status.ESME_ROK:
        _read_text(taken, message, account.alphabet)
    return taken


def _read_times(taken: Taken, message: ShortMessage, now: datetime) -> None:
    if message.schedule_delivery_time:
        taken.send_at = times.read(message.schedule_delivery_time, now)
        if taken.send_at is None or taken.send_at <= now:
            taken.status = refusals.RINVSCHED
            return
    if message.validity_period:
        taken.valid_until = times.read(message.validity_period, now)
        if taken.valid_until is None or taken.valid_until <= (taken.send_at or now):
            taken.status = refusals.RINVEXPIRY


def _read_text(taken: Taken, message: ShortMessage, default: Alphabet) -> None:
    piece = texts.read(message, default)
    if piece.overlong:
        taken.status = status.ESME_RINVMSGLEN
    elif piece.concatenation is None:
        taken.text = _storable(texts.decode(piece.data_coding, piece.octets, default))
    else:
        taken.part = part_of(taken.sender, taken.recipient, piece.concatenation, piece.data_coding, piece.octets)


async def submit(desk: Desk, account: Account, taken: Sequence[Taken], begun: list[UUID]) -> None:
    """Have `taken` made durable; each has its status and the id to be told afterwards. `begun` gets the messages that
    the caller tells `Desk.answered` of, also when this raises."""
    items = [item for item in taken if item.status == status.ESME_ROK]
    if not items:
        return
    if not desk.take_on(len(items)):
        _fail(items, status.ESME_RMSGQFUL)
        return
    try:
        for some in _rounds(items):
            await _attempt(desk, account, some, begun)
    finally:
        desk.done(len(items))


def _rounds(items: Sequence[Taken]) -> list[list[Taken]]:
    """`items` in order, parted where a text's reference is used again: the text before is to be whole by then, or the
    parts of both could not be told apart."""
    rounds: list[list[Taken]] = [[]]
    seen: dict[tuple[GroupKey, int], bytes] = {}
    for item in items:
        part = item.part
        if part is not None:
            place = (part.key, part.sequence)
            if seen.get(place, part.octets) != part.octets:
                rounds.append([])
                seen.clear()
            seen[place] = part.octets
        rounds[-1].append(item)
    return rounds


async def _attempt(desk: Desk, account: Account, items: Sequence[Taken], begun: list[UUID]) -> None:
    try:
        await _submit(desk, account, items, begun)
    except (Unavailable, Refusal) as error:
        tell_put_off(desk, account, len(items), error)
        _fail(items, refusals.command_status(error))
    except Exception:
        log.exception("smpp.customer_failed", system_id=account.system_id, count=len(items))
        _fail(items, status.ESME_RSYSERR)


def tell_put_off(desk: Desk, account: Account, count: int, error: Unavailable | Refusal) -> None:
    """That so many requests were answered so, once a minute: customers repeat them as fast as they are told."""
    thing, now = ("smpp.customer_put_off", account.system_id), desk.line.now().timestamp()
    if due := desk.told.due(thing, now, count):
        log.warning("smpp.customer_put_off", system_id=account.system_id, count=due, reason=error.message)


async def _submit(desk: Desk, account: Account, items: Sequence[Taken], messages: list[UUID]) -> None:
    parts = [(item, item.part) for item in items if item.part is not None]
    whole = [item for item in items if item.part is None]
    made = [(_whole(item, message_id), [item]) for item, message_id in zip(whole, _ids(desk, len(whole)), strict=True)]
    finished: list[tuple[GroupKey, Begun]] = []
    if parts:
        begun, joined = await _keep(desk, account, parts)
        for text in joined:
            key = text.joined.key
            of_it = [item for item, part in parts if part.key == key]
            submission = _joined(text, begun[key], of_it[-1])
            made.append((submission, of_it))
            finished.append((key, begun[key]))
    if not made:
        return
    these = [submission.message_id for submission, _ in made]
    messages += these
    desk.answering(these)
    errors = await desk.gateway.submit(account, [submission for submission, _ in made])
    refused: dict[UUID, Refusal | Unavailable] = {}
    for (submission, of_it), error in zip(made, errors, strict=True):
        if error is not None:
            refused[submission.message_id] = error
            _fail(of_it, refusals.command_status(error))
    if not finished:
        return
    try:
        await _settle(desk, account, finished, refused, [part for _, part in parts])
    except Unavailable as error:  # what is whole has been accepted; the last parts may come again, and change nothing
        tell_put_off(desk, account, len(finished), error)
        keys = {key for key, _ in finished}
        _fail([item for item, part in parts if part.key in keys], status.ESME_RSYSERR)


async def _settle(
    desk: Desk,
    account: Account,
    finished: Sequence[tuple[GroupKey, Begun]],
    refused: Mapping[UUID, Refusal | Unavailable],
    last: Sequence[TextPart],
) -> None:
    """Be done with joined texts. One refused for now stays, so that its last part may be submitted again; of one that
    was refused for good, the parts accepted before these `last` are reported."""
    texts_of = desk.texts(account)
    await texts_of.finish([(key, begun.message_id) for key, begun in finished if begun.message_id not in refused])
    for_good = {message_id for message_id, error in refused.items() if not isinstance(error, Unavailable | TooMany)}
    failed = [
        (key, begun.message_id, [part.sequence for part in last if part.key == key])
        for key, begun in finished
        if begun.message_id in for_good
    ]
    if failed:
        await texts_of.refuse(failed, desk.clock.now())
        await desk.report_given_up(account)


async def _keep(
    desk: Desk, account: Account, parts: Sequence[tuple[Taken, TextPart]]
) -> tuple[dict[GroupKey, Begun], list[Whole]]:
    keys = list(dict.fromkeys(part.key for _, part in parts))
    new_id = dict(zip(keys, _ids(desk, len(keys)), strict=True))
    kept = [(part, item.wish, item.anew) for item, part in parts]
    begun, whole = await desk.texts(account).keep(kept, new_id, desk.clock.now())
    for item, part in parts:
        item.message_id = part_id(begun[part.key].message_id, part.sequence)
    return begun, whole


def _ids(desk: Desk, count: int) -> list[UUID]:
    return desk.gateway.new_ids(count) if count else []


def _whole(item: Taken, message_id: UUID) -> CustomerSubmission:
    item.message_id = message_id.hex
    return CustomerSubmission(
        message_id, item.sender, item.recipient, item.text, item.wish, (), item.send_at, item.valid_until
    )


def _joined(whole: Whole, begun: Begun, last: Taken) -> CustomerSubmission:
    """Its times are those of the part that came last."""
    key, text = whole.joined.key, _storable(whole.joined.text)
    return CustomerSubmission(
        begun.message_id, key.sender, key.recipient, text, begun.wish, begun.parts, last.send_at, last.valid_until
    )


def _storable(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL's text has no NUL


def _fail(items: Sequence[Taken], state: int) -> None:
    for item in items:
        item.status = state
