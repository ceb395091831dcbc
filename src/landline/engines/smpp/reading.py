"""What a deliver_sm says: a receipt, a text, or a part of one. What becomes of it is the `Inbox`'s."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from landline.core.log_limit import LogLimit
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.encoding import LONGEST, number_of
from landline.engines.smpp.recent import Item
from landline.engines.smpp.records import fingerprint
from landline.engines.smpp.reports import Reports
from landline.engines.smpp.standstill import Standstill
from landline.ports.sms_carrier import Arrival
from landline.protocols.smpp import receipts, texts
from landline.protocols.smpp.joiner import part_of
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smstext import segments

log = structlog.get_logger()


@dataclass(slots=True)
class InboxCounters:
    """Since the start."""

    receipts: int = 0
    receipts_early: int = 0
    receipts_unreadable: int = 0
    receipts_passing: int = 0
    """Receipts of states that are not final."""
    texts: int = 0
    parts: int = 0
    incomplete: int = 0
    repeated: int = 0
    put_off: int = 0
    """deliver_sm answered with a temporary error."""


class Reading:
    """One carrier's, by its configuration."""

    def __init__(self, config: SmppConfig, standstill: Standstill) -> None:
        self._config = config
        self._standstill = standstill
        self.meaning = Reports(config)
        self.counters = InboxCounters()
        self._told = LogLimit()
        self._told_of_unmarked = False

    def is_unmarked_receipt(self, message: ShortMessage) -> bool:
        """Whether a receipt that its esm_class does not call one is one. Any phone can write what looks so: where the
        carrier is not known to leave its own unmarked, its operator is told once."""
        if not receipts.is_written(message):
            return False
        if self._config.unmarked_receipts or receipts.is_acknowledgement(message):
            return True
        if not self._told_of_unmarked:
            self._told_of_unmarked = True
            log.warning("smpp.text_looks_like_receipt", carrier=self._config.name, esm_class=message.esm_class)
        return False

    def receipt(self, item: Item, message: ShortMessage) -> None:
        """Read a receipt into `item`; one of a state that is not final, or that cannot be read, leaves it as it is."""
        read = receipts.read(message)
        if read is None:
            self.counters.receipts_unreadable += 1
            count, size = self._told.due("unreadable", item.at), len(message.short_message)
            if count:
                log.warning("smpp.receipt_unreadable", carrier=self._config.name, size_bytes=size, count=count)
        elif not read.state.final:
            self.counters.receipts_passing += 1
        else:
            self.counters.receipts += 1
            item.receipt, item.other_id = self.meaning.read(read, item.at)

    def text(self, item: Item, message: ShortMessage) -> None:
        """Read a text, or a part of one, into `item`."""
        country = self._config.country
        sender = number_of(message.source_addr_ton, message.source_addr[:LONGEST], country)
        recipient = number_of(message.dest_addr_ton, message.destination_addr[:LONGEST], country)
        piece = texts.read(message, self._config.default_alphabet)
        if piece.concatenation is not None:
            self.counters.parts += 1
            item.part = part_of(sender, recipient, piece.concatenation, piece.data_coding, piece.octets)
            return
        self.counters.texts += 1
        # PostgreSQL's text holds no NUL, and none is ever meant: SMSCs leave one at the end.
        text = texts.decode(piece.data_coding, piece.octets, self._config.default_alphabet).replace("\0", "")
        item.fingerprint = fingerprint(sender, recipient, text)
        item.stood_s = self._standstill.seconds()
        at = datetime.fromtimestamp(item.at, UTC)
        item.arrival = Arrival("", sender, recipient, text, piece.segments or segments(text).count, at)
