"""Delivery receipts: read from TLVs first, then from the text that SMPP 3.4 Appendix B describes and SMSCs vary; and
written, for the SMSC side.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import ESM_INTERMEDIATE, ESM_RECEIPT, ESM_TYPE, ESM_UDH, MessageState, Tag
from landline.protocols.smpp.pdu import ID_LIMIT, ShortMessage, Tlvs, tlv
from landline.protocols.smstext import decode_gsm

_TEXT_STATES: dict[str, MessageState] = {
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
    "ENROUTE": MessageState.ENROUTE,
    # What SMSCs write beside Appendix B's words:
    "DELIVERED": MessageState.DELIVERED,
    "EXPIRD": MessageState.EXPIRED,
    "UNDELIVERED": MessageState.UNDELIVERABLE,
    "UNDELIVERABLE": MessageState.UNDELIVERABLE,
    "FAILED": MessageState.UNDELIVERABLE,
    "ACCEPTED": MessageState.ACCEPTED,
    "BUFFERED": MessageState.ENROUTE,
    "BUFFRED": MessageState.ENROUTE,
    "REJECTED": MessageState.REJECTED,
    "SKIPPED": MessageState.REJECTED,
    "SCHEDULED": MessageState.ENROUTE,
    "PENDING": MessageState.ENROUTE,
    "QUEUED": MessageState.ENROUTE,
    "SUBMITTED": MessageState.ENROUTE,
    "SENT": MessageState.ENROUTE,
}

_WORDS = {
    MessageState.DELIVERED: "DELIVRD",
    MessageState.EXPIRED: "EXPIRED",
    MessageState.DELETED: "DELETED",
    MessageState.UNDELIVERABLE: "UNDELIV",
    MessageState.ACCEPTED: "ACCEPTD",
    MessageState.UNKNOWN: "UNKNOWN",
    MessageState.REJECTED: "REJECTD",
    MessageState.ENROUTE: "ENROUTE",
}

_STRICT = re.compile(
    rb"id:([!-\xff]{1,255}) sub:(\d{1,3}) dlvrd:(\d{1,3})"
    rb" submit date:(\d{10,12}) done date:(\d{10,12}) stat:(\w+) err:(\w+)",
)
"""Appendix B to the letter: what most receipts look like, read in one step."""

_IN_GSM = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]|[!-~]\0(?=[!-~])")
"""What no receipt in ASCII has, and one in the GSM alphabet has where its id has `_`, `$` or `@`. Any other NUL ends a
string."""

_WRITTEN = re.compile(rb"\s*(?:id|sub|stat)\s*:", re.IGNORECASE | re.DOTALL)
"""How texts begin that may be receipts, whatever their esm_class says."""

_ACKNOWLEDGEMENTS = frozenset((0x08, 0x10))

_UCS2 = 0x08
_NAMES = r"(?:id|sub|dlvrd|submit[ _]?date|done[ _]?date|stat(?:us)?|err(?:or)?|text)"
_SHORT = {"status": "stat", "error": "err"}
_FIELD = re.compile(
    rf"(?:^|[\s,;])({_NAMES})\s*:[ \t]*(?!{_NAMES}\s*:)\"?([^\s\",;\0]*)",
    re.IGNORECASE,
)


class DeliveryReceipt(Struct, frozen=True):
    """What one receipt says. None is what it leaves out."""

    message_id: str
    state: MessageState
    delivered: int | None = None
    """How many messages were delivered (`dlvrd`)."""
    done_at: datetime | None = None
    """The `done date` read as UTC; SMSCs write their local time, so it is shifted by who knows the SMSC's zone."""
    error: str | None = None
    """`err:` as written, the SMSC's own code."""
    network_error: bytes | None = None
    """The network_error_code TLV (§5.3.2.31)."""
    other_id: str = ""
    """The id in the text, where the TLV has another: SMSCs differ in which of the two their response had."""


def is_receipt(message: ShortMessage) -> bool:
    """Whether a deliver_sm is about a message of ours, not a text from a phone (§5.2.12)."""
    kind = message.esm_class & ESM_TYPE
    if kind in (ESM_RECEIPT, ESM_INTERMEDIATE):
        return True
    return bool(message.tlvs) and kind == 0 and tlv(message.tlvs, Tag.RECEIPTED_MESSAGE_ID) is not None


def is_written(message: ShortMessage) -> bool:
    """Whether the text of a deliver_sm for which `is_receipt` does not hold is written as a receipt all the same."""
    if message.esm_class & ESM_UDH:
        return False
    text = _plain(message.short_message or tlv(message.tlvs, Tag.MESSAGE_PAYLOAD) or b"", message)
    return _WRITTEN.match(text) is not None and parse(text) is not None


def is_acknowledgement(message: ShortMessage) -> bool:
    """Whether esm_class says that an SME or its user acknowledges a message of ours (§5.2.12), which no phone does."""
    return message.esm_class & ESM_TYPE in _ACKNOWLEDGEMENTS


def read(message: ShortMessage) -> DeliveryReceipt | None:
    """The receipt in a deliver_sm for which `is_receipt` or `is_written` holds; None when it names no message or no
    state. What an intermediate notification (§5.2.12) calls a failure is that of one attempt: the SMSC tries again, and
    tells of the end in another one."""
    found = _read(message)
    if found is None or message.esm_class & ESM_TYPE != ESM_INTERMEDIATE or found.state is MessageState.DELIVERED:
        return found
    return replace(found, state=MessageState.ENROUTE)


def _read(message: ShortMessage) -> DeliveryReceipt | None:
    tlvs = message.tlvs
    if not tlvs:
        return parse(message.short_message) or parse(_plain(message.short_message, message))
    # Some SMSCs have it in the payload, with or without something in short_message.
    short, payload = message.short_message, tlv(tlvs, Tag.MESSAGE_PAYLOAD) or b""
    written, stated = parse(short) or parse(payload), True
    if written is None:
        fields = _fields(_plain(payload, message)) | _fields(_plain(short, message))
        written, stated = _of_fields(fields), bool(fields.get("stat"))
    identifier = tlv(tlvs, Tag.RECEIPTED_MESSAGE_ID)
    message_id = identifier.split(b"\0")[0][:ID_LIMIT].decode("latin-1").strip() if identifier else ""
    state = _state(tlv(tlvs, Tag.MESSAGE_STATE))
    message_id = message_id or written.message_id
    if not message_id or (state is None and not stated):
        return None
    return DeliveryReceipt(
        message_id,
        state or written.state,
        written.delivered,
        written.done_at,
        written.error,
        tlv(tlvs, Tag.NETWORK_ERROR_CODE),
        "" if written.message_id == message_id else written.message_id,
    )


def parse(text: bytes) -> DeliveryReceipt | None:
    """The receipt that `text` is, in Appendix B's form or one near to it; None when it lacks the id or the state."""
    match = _STRICT.match(text)
    if match is not None:
        message_id, _, delivered, _, done, stat, error = match.groups()
        state = _written_state(stat.decode())
        return DeliveryReceipt(
            message_id.decode("latin-1"), state, int(delivered), _date(done.decode()), error.decode("latin-1")
        )
    fields = _fields(text)
    if not fields.get("id") or not fields.get("stat"):
        return None
    return _of_fields(fields)


def write(
    message_id: str,
    state: MessageState,
    *,
    submitted_at: datetime,
    done_at: datetime,
    error: int = 0,
    text: bytes = b"",
) -> bytes:
    """Appendix B's text of a receipt for one message; `text` is cut to its first 20 octets."""
    delivered = 1 if state is MessageState.DELIVERED else 0
    submitted, done = _minute(submitted_at), _minute(done_at)
    return (
        f"id:{message_id} sub:001 dlvrd:{delivered:03} submit date:{submitted} done date:{done}"
        f" stat:{_WORDS[state]} err:{error:03} text:"
    ).encode("latin-1") + text[:20]


def tlvs(message_id: str, state: MessageState) -> Tlvs:
    """The TLVs that say the same as `write` (§5.3.2.12, §5.3.2.35)."""
    return (
        (Tag.RECEIPTED_MESSAGE_ID, message_id.encode("latin-1") + b"\0"),
        (Tag.MESSAGE_STATE, bytes((state,))),
    )


def matching_id(message_id: str, *, hexadecimal: bool) -> str:
    """One form for ids that an SMSC writes in hexadecimal in one place and in decimal in the other.

    Returns the number in decimal, or `message_id` unchanged when it is not one.
    """
    try:
        return str(int(message_id, 16 if hexadecimal else 10))
    except ValueError:
        return message_id


def state_of(number: int) -> MessageState | None:
    """What a message_state says (§5.2.28); None of one that no version of SMPP has."""
    return _STATES.get(number)


_STATES = {0: MessageState.ENROUTE, 9: MessageState.REJECTED} | {state.value: state for state in MessageState}
"""And of SMPP 5.0 §4.7.15: SCHEDULED, to be sent yet; SKIPPED, never sent by a rule of the SMSC or the network."""


@lru_cache(maxsize=64)
def _minute(at: datetime) -> str:
    return at.strftime("%y%m%d%H%M")


def _fields(text: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    written = decode_gsm(text) if _IN_GSM.search(text) else text.decode("latin-1")
    for name, value in _FIELD.findall(written):
        key = name.lower().replace("_", "").replace(" ", "")
        if key == "text":  # what follows is the message itself
            break
        fields.setdefault(_SHORT.get(key) or key, value)
    return fields


def _plain(text: bytes, message: ShortMessage) -> bytes:
    """`text` as Latin-1 and without a header: some SMSCs write receipts as they send the texts these are about."""
    if message.esm_class & ESM_UDH and text:
        text = text[text[0] + 1 :]
    if message.data_coding == _UCS2:
        return texts.decode(_UCS2, text).encode("latin-1", "replace")
    return text


def _of_fields(fields: dict[str, str]) -> DeliveryReceipt:
    delivered = fields.get("dlvrd", "")
    return DeliveryReceipt(
        fields.get("id", "")[:ID_LIMIT],
        _written_state(fields.get("stat", "")),
        int(delivered) if delivered.isascii() and delivered.isdigit() and len(delivered) < 6 else None,
        _date(fields.get("donedate", "")),
        fields.get("err") or None,
    )


def _written_state(word: str) -> MessageState:
    """A state as the text has it; some SMSCs write the number that the TLV has (§5.2.28)."""
    state = _TEXT_STATES.get(word.upper())
    if state is None and word.isascii() and word.isdigit() and len(word) <= 2:
        state = _state(bytes((int(word),)))
    return state or MessageState.UNKNOWN


def _state(value: bytes | None) -> MessageState | None:
    if value is None or len(value) != 1:
        return None
    return _STATES.get(value[0], MessageState.UNKNOWN)


@lru_cache(maxsize=64)
def _date(digits: str) -> datetime | None:
    """YYMMDDhhmm, with seconds or with the century as well, which is ours: who has no date may write the first or the
    last that there is. Receipts of a minute all have the same."""
    if not digits.isascii() or not digits.isdigit():
        return None
    if len(digits) in (10, 12):
        digits = "20" + digits
    if len(digits) not in (12, 14) or not digits.startswith("20"):
        return None
    numbers = [int(digits[:4]), *(int(digits[index : index + 2]) for index in range(4, len(digits), 2))]
    try:
        year, month, day, hour, minute, second = [*numbers, 0][:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
