"""Receipts and texts as the deliver_sm that bring them to a customer, and what its answers mean."""

from collections.abc import Iterable

import structlog

from landline.core.log_limit import LogLimit
from landline.engines.smpp.encoding import address_of
from landline.engines.smpp.listener.connection import Handed
from landline.engines.smpp.listener.intake import part_id
from landline.ports.esme_gateway import Delivered, ReportOut, TextOut
from landline.protocols.smpp import pdu, receipts, status, texts
from landline.protocols.smpp.commands import ESM_RECEIPT
from landline.protocols.smpp.errors import LocalProtocolError
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import Alphabet, LongStyle

log = structlog.get_logger()

_ADDRESS_MOST = 20
"""Octets of a deliver_sm's address (§4.6.1), without its NUL."""
_TEMPORARY = frozenset(
    (
        status.ESME_RX_T_APPN,
        status.ESME_RMSGQFUL,
        status.ESME_RTHROTTLED,
        status.ESME_RSYSERR,
        status.ESME_RINVBNDSTS,  # what a customer may answer that is unbinding
    )
)


def deliverable(system_id: str, delivery: ReportOut | TextOut, alphabet: Alphabet) -> list[bytes]:
    """`bodies`, none of what SMPP cannot carry."""
    try:
        return bodies(delivery, alphabet)
    except LocalProtocolError as error:
        log.error("smpp.undeliverable", system_id=system_id, reason=str(error))
        return []  # SMPP cannot carry it, now or later: it counts as taken


def outcome(system_id: str, handed: Handed, answer: int | None, told: LogLimit, now: float) -> Delivered | None:
    """What the status that a customer answers a deliver_sm with means; None when it answered nothing."""
    if answer is None:
        return Delivered.ENDED if handed.ended else None
    if answer in _TEMPORARY:
        return Delivered.LATER
    if answer != status.ESME_ROK:
        name = status.meaning(answer).name
        count = told.due(("smpp.customer_refuses", system_id, name), now)
        if count:
            log.warning("smpp.customer_refuses", system_id=system_id, status=name, count=count)
    return Delivered.TAKEN


def put_behind(outcomes: list[Delivered], ended: Iterable[int]) -> None:
    """Of those of `outcomes` over which a connection broke, say so, unless they were taken from another one."""
    for number in ended:
        if outcomes[number] is not Delivered.TAKEN:
            outcomes[number] = Delivered.ENDED


def bodies(delivery: ReportOut | TextOut, alphabet: Alphabet) -> list[bytes]:
    """The bodies of its deliver_sm, one for each part; `alphabet` is the account's."""
    if isinstance(delivery, ReportOut):
        message_id = delivery.message_id
        ids = [part_id(message_id, number) for number in delivery.parts] or [message_id.hex]
        return [_receipt(delivery, told) for told in ids]
    # A text that is brought again has the same reference, so that parts taken before need not be taken for another.
    reference = delivery.key.int & 0xFFFF
    return [
        _deliver_sm(
            delivery.sender, delivery.recipient, part.short_message, part.esm_class, part.data_coding, part.tlvs
        )
        for part in _parts(delivery.text, alphabet, reference)
    ]


def _parts(text: str, alphabet: Alphabet, reference: int, apart: int = 0x40) -> list[texts.Part]:
    """The parts of `text`. One that takes more of them than a text can have becomes several texts: it had room in the
    coding that its carrier brought it in."""
    try:
        return texts.write(text, LongStyle.UDH8, alphabet, reference)
    except LocalProtocolError:
        middle = len(text) // 2
        halves = ((text[:middle], reference), (text[middle:], reference + apart & 0xFFFF))
        return [part for half, of_half in halves for part in _parts(half, alphabet, of_half, apart // 2)]


def _receipt(report: ReportOut, message_id: str) -> bytes:
    text = receipts.write(
        message_id, report.state, submitted_at=report.submitted_at, done_at=report.done_at, error=report.error
    )
    tlvs = receipts.tlvs(message_id, report.state)
    return _deliver_sm(report.recipient, report.sender, text, ESM_RECEIPT, 0, tlvs)


def _deliver_sm(source: str, destination: str, text: bytes, esm_class: int, coding: int, tlvs: pdu.Tlvs) -> bytes:
    source_ton, source_npi, source_addr = address_of(source)
    source_addr = source_addr[:_ADDRESS_MOST]  # a carrier's data_sm may have more (§4.7.1)
    ton, npi, address = address_of(destination)
    return pdu.encode_body(
        ShortMessage(
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            source_addr=source_addr,
            dest_addr_ton=ton,
            dest_addr_npi=npi,
            destination_addr=address,
            esm_class=esm_class,
            data_coding=coding,
            short_message=text,
            tlvs=tlvs,
        )
    )
