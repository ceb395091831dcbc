"""The states of an SMPP session and which request may be sent in which (SMPP 3.4 §2.2 and §2.3, table 2-1)."""

from enum import Enum

from landline.protocols.smpp.commands import BindKind, Command


class Role(Enum):
    """Which side of the session we are."""

    ESME = "esme"
    SMSC = "smsc"

    __hash__ = object.__hash__  # Enum's own is written in Python, and every PDU is looked up by these

    @property
    def peer(self) -> "Role":
        return Role.SMSC if self is Role.ESME else Role.ESME


class State(Enum):
    """§2.2, with the two moments in which an answer to bind and unbind is awaited, which it does not name."""

    OPEN = "open"
    BINDING = "binding"
    BOUND_TX = "bound-tx"
    BOUND_RX = "bound-rx"
    BOUND_TRX = "bound-trx"
    UNBINDING = "unbinding"
    CLOSED = "closed"

    __hash__ = object.__hash__  # as above


class Step(Enum):
    """What moves a session from one state to another."""

    BIND = "bind"
    REFUSED = "refused"
    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"
    TRANSCEIVER = "transceiver"
    UNBIND = "unbind"
    END = "end"


BOUND = frozenset((State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX))

NEXT: dict[tuple[State, Step], State] = {
    (State.OPEN, Step.BIND): State.BINDING,
    (State.BINDING, Step.REFUSED): State.OPEN,
    (State.BINDING, Step.TRANSMITTER): State.BOUND_TX,
    (State.BINDING, Step.RECEIVER): State.BOUND_RX,
    (State.BINDING, Step.TRANSCEIVER): State.BOUND_TRX,
    (State.BOUND_TX, Step.UNBIND): State.UNBINDING,
    (State.BOUND_RX, Step.UNBIND): State.UNBINDING,
    (State.BOUND_TRX, Step.UNBIND): State.UNBINDING,
    **{(state, Step.END): State.CLOSED for state in State},
}
"""§2.2. A session ends from every state, and only once is that of any meaning."""

BOUND_BY: dict[BindKind, Step] = {
    BindKind.TRANSMITTER: Step.TRANSMITTER,
    BindKind.RECEIVER: Step.RECEIVER,
    BindKind.TRANSCEIVER: Step.TRANSCEIVER,
}

_SENDERS = frozenset((State.BOUND_TX, State.BOUND_TRX))
_RECEIVERS = frozenset((State.BOUND_RX, State.BOUND_TRX))
_OPEN = frozenset((State.OPEN,))

ISSUED: dict[tuple[Role, int], frozenset[State]] = {
    **{(Role.ESME, kind.value): _OPEN for kind in BindKind},
    (Role.SMSC, Command.OUTBIND): _OPEN,
    (Role.ESME, Command.SUBMIT_SM): _SENDERS,
    (Role.ESME, Command.QUERY_SM): _SENDERS,
    (Role.ESME, Command.CANCEL_SM): _SENDERS,
    (Role.ESME, Command.REPLACE_SM): _SENDERS,
    (Role.ESME, Command.DATA_SM): _SENDERS,
    (Role.SMSC, Command.DATA_SM): _RECEIVERS,
    (Role.SMSC, Command.DELIVER_SM): _RECEIVERS,
    (Role.SMSC, Command.ALERT_NOTIFICATION): _RECEIVERS,
    (Role.ESME, Command.UNBIND): BOUND,
    (Role.SMSC, Command.UNBIND): BOUND,
    **{(role, Command.ENQUIRE_LINK): frozenset(State) - {State.CLOSED} for role in Role},
}
"""Table 2-1: in which states which side may issue a request; an absent key is never allowed. enquire_link is let
through before the bind too, as SMPP 5 does and load balancers do. A peer that is unbinding has its requests refused."""
