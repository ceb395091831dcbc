"""Two SMPP sessions wired back to back, with time stepped by hand."""

from collections.abc import Sequence
from typing import TypeVar

from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import BindKind
from landline.protocols.smpp.events import (
    BindArrived,
    Bound,
    Event,
)
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

BODY = pdu.encode_body(ShortMessage(source_addr="1", destination_addr="2", short_message=b"hi"))
E = TypeVar("E", bound=Event)


def only(kind: type[E], events: Sequence[Event]) -> E:
    (event,) = events
    assert isinstance(event, kind)
    return event


class Pair:
    """An ESME and an SMSC on one perfect wire."""

    def __init__(self, kind: BindKind | None = BindKind.TRANSCEIVER, **limits: float | None) -> None:
        self.now = 1000.0
        self.esme = Session(Role.ESME, self.now, Limits(**limits))  # type: ignore[arg-type]
        self.smsc = Session(Role.SMSC, self.now, Limits(**limits))  # type: ignore[arg-type]
        if kind is not None:
            self.esme.bind(kind, pdu.Bind("me", "secret"), self.now)
            assert only(BindArrived, self.to_smsc()).bind.password == "secret"
            self.smsc.accept_bind("them")
            assert only(Bound, self.to_esme()).system_id == "them"

    def to_smsc(self) -> list[Event]:
        return self.smsc.receive(self.esme.outgoing(), self.now)

    def to_esme(self) -> list[Event]:
        return self.esme.receive(self.smsc.outgoing(), self.now)
