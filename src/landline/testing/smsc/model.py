"""How the SMSC conducts itself, and what it remembers of what it got."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from msgspec import Struct

from landline.protocols.smpp import status
from landline.protocols.smpp.commands import MessageState


class ReceiptTime(Enum):
    """When the receipt of a message is sent."""

    NONE = "none"
    AFTER = "after"
    """After the response and `receipt_delay_s`."""
    BEFORE = "before"
    """Before the response, as some SMSCs do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of messages to destinations that begin with `prefix`; the first rule that fits counts."""

    prefix: str = ""
    status: int = status.ESME_ROK
    """The command_status of the response."""
    every: int = 1
    """Only each so many-th message that fits is treated so."""
    state: MessageState = MessageState.DELIVERED
    error: int = 0
    """`err:` of the receipt."""
    silent: bool = False
    """No response at all."""
    response_delay_s: float | None = None
    """When it is answered; None as all others."""


@dataclass(slots=True)
class Conduct:
    """May be changed while the SMSC runs."""

    response_delay_s: float = 0.0
    rate_per_s: int | None = None
    """More submit_sm in one second on all binds are answered with `throttle_status`."""
    throttle_status: int = status.ESME_RTHROTTLED
    rules: Sequence[Rule] = ()
    receipts: ReceiptTime = ReceiptTime.AFTER
    receipt_delay_s: float = 0.0
    receipt_copies: int = 1
    receipts_backwards: bool = False
    """Each read's receipts in the opposite order of their messages."""
    receipt_tlvs: bool = True
    receipt_text: bool = True
    receipt_id: str = "{id}"
    """A format of the id (a number) in receipts, such as `{id:x}`; what an unknown message's would be, without `id`."""
    receipt_tlv_id: str | None = None
    """The same for receipted_message_id, where that is to differ from the text's."""
    response_id: str = "{id}"
    bind_status: int = status.ESME_ROK
    unbind_after: int | None = None
    """Unbind a connection after so many submissions."""
    deliver_retry_s: float = 1.0
    """When a delivery is brought again that was answered with a temporary error."""


class Received(Struct, frozen=True):
    """One submit_sm the SMSC took."""

    system_id: str
    message_id: str
    sender: str
    recipient: str
    octets: bytes
    data_coding: int
    esm_class: int
    registered_delivery: int
    service_type: str
    source_ton: int
    source_npi: int
    validity_period: str


class ReceivedText(Struct, frozen=True):
    """A whole text, its parts joined."""

    sender: str
    recipient: str
    text: str
    parts: int


@dataclass(slots=True)
class Counts:
    """Since the start."""

    connections: int = 0
    binds: int = 0
    binds_refused: int = 0
    submits: int = 0
    accepted: int = 0
    throttled: int = 0
    deliveries: int = 0
    """deliver_sm sent, repeats included."""
    delivered: int = 0
    """deliver_sm acknowledged."""
    delivery_refusals: dict[int, int] = field(default_factory=dict[int, int])
    """deliver_sm answered with an error, by its status."""
    unbinds: int = 0
