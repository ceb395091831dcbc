"""Receipts and texts as the deliver_sm that bring them to a customer."""

from landline.engines.smpp.encoding import address_of
from landline.engines.smpp.listener.intake import part_id
from landline.ports.esme_gateway import ReportOut, TextOut
from landline.protocols.smpp import pdu, receipts, texts
from landline.protocols.smpp.commands import ESM_RECEIPT
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import Alphabet, LongStyle


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
        for part in texts.write(delivery.text, LongStyle.UDH8, alphabet, reference)
    ]


def _receipt(report: ReportOut, message_id: str) -> bytes:
    text = receipts.write(
        message_id, report.state, submitted_at=report.submitted_at, done_at=report.done_at, error=report.error
    )
    tlvs = receipts.tlvs(message_id, report.state)
    return _deliver_sm(report.recipient, report.sender, text, ESM_RECEIPT, 0, tlvs)


def _deliver_sm(source: str, destination: str, text: bytes, esm_class: int, coding: int, tlvs: pdu.Tlvs) -> bytes:
    source_ton, source_npi, source_addr = address_of(source)
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
