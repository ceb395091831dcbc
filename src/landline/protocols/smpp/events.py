"""What happened on an SMPP session, in the past tense. `context` is whatever the caller passed with its request."""

from msgspec import Struct

from landline.protocols.smpp.commands import BindKind
from landline.protocols.smpp.pdu import AlertNotification, Bind, Body, ShortMessage, Tlvs


class BindArrived(Struct, frozen=True):
    """An ESME asks to bind; answer with `accept_bind` or `refuse_bind`."""

    kind: BindKind
    bind: Bind


class Bound(Struct, frozen=True):
    """The SMSC took our bind."""

    system_id: str
    tlvs: Tlvs


class BindRefused(Struct, frozen=True):
    """The SMSC refused our bind; the session is open as before."""

    status: int


class OutbindArrived(Struct, frozen=True):
    """The SMSC asks us to bind as a receiver (§2.2.1)."""

    system_id: str
    password: str


class MessageArrived(Struct, frozen=True):
    """A submit_sm (at the SMSC) or a deliver_sm (at the ESME); answer it by its `sequence`."""

    sequence: int
    message: ShortMessage


class RequestArrived(Struct, frozen=True):
    """Another request: data_sm, query_sm, cancel_sm, replace_sm; answer it by its `sequence`."""

    sequence: int
    command: int
    body: Body


class AlertArrived(Struct, frozen=True):
    """An alert_notification, which has no answer."""

    alert: AlertNotification


class Answered(Struct, frozen=True):
    """The response to one of our requests, or a generic_nack of it."""

    command: int
    context: object
    status: int
    message_id: str = ""
    body: Body | None = None
    """The response's body, when it was not one to a submit_sm, deliver_sm or data_sm."""


class AnsweredLate(Struct, frozen=True):
    """The response to a submit_sm that was told as `Unanswered` while the session went on."""

    context: object
    status: int
    message_id: str = ""


class Unanswered(Struct, frozen=True):
    """No response came within the response timer, or the session ended first."""

    command: int
    context: object


class PduRefused(Struct, frozen=True):
    """We answered a PDU with an error by ourselves: out of state, unreadable, unknown or over the window."""

    command: int
    status: int


class Unbound(Struct, frozen=True):
    """The session ends in order: at once, or where the peer asked for it as soon as we have answered what it asked
    before, and as ESME have its answers; once it has, after writing `outgoing()`, the connection is to be closed."""

    by_peer: bool


class PeerLost(Struct, frozen=True):
    """The session is over: silence, or octets that are no SMPP; after writing `outgoing()` close the connection."""

    reason: str


Event = (
    BindArrived
    | Bound
    | BindRefused
    | OutbindArrived
    | MessageArrived
    | RequestArrived
    | AlertArrived
    | Answered
    | AnsweredLate
    | Unanswered
    | PduRefused
    | Unbound
    | PeerLost
)
