"""What a carrier's receipts mean to the service: which message, which state, since when. Which message is not always
clear, for the TLV may have another id than the text.
"""

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from landline.engines.smpp.config import MessageIds, SmppConfig
from landline.ports.sms_carrier import Receipt
from landline.protocols.smpp import receipts, status
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.receipts import DeliveryReceipt


class Reports:
    """One carrier's. Of two ids the TLV's counts, until receipts were of messages that the text's alone named."""

    def __init__(self, config: SmppConfig) -> None:
        self._config = config
        self._error_codes = {_plain_error(error): code for error, code in config.error_codes.items()}
        self._by_text = False
        self._since = -math.inf

    def read(self, read: DeliveryReceipt, now: float) -> tuple[Receipt, str]:
        """What `read` means, which came at `now`; and the id by which its message is known if not by the receipt's, or
        nothing."""
        message_id, other_id = self._ids(read) if read.other_id else (self._canonical(read.message_id), "")
        delivered = read.state is MessageState.DELIVERED
        code = status.state_code(read.state, read.network_error)
        if not delivered and read.error is not None:
            code = self._error_codes.get(_plain_error(read.error), code)
        at, offset = instant(now), self._config.receipt_utc_offset_minutes
        if read.done_at is not None and offset is not None:
            at = min(read.done_at - timedelta(minutes=offset), at)
        return Receipt(message_id, delivered, code, at), other_id

    def meant_other(self, read_at: float, now: float) -> None:
        """The message of a receipt read at `read_at` is known by its other id: what comes from `now` on is looked for
        by that one first."""
        if read_at > self._since:  # not once for each of those read before
            self._by_text, self._since = not self._by_text, now

    def _ids(self, read: DeliveryReceipt) -> tuple[str, str]:
        style = self._config.message_ids
        in_tlv, in_text = self._canonical(read.message_id), self._canonical(read.other_id)
        if style is not MessageIds.AS_IS:
            # One number, in the TLV as in the response and in the text as `message_ids` says of receipts.
            number = receipts.matching_id(read.message_id, hexadecimal=style.response_hexadecimal)
            in_tlv = number if number == in_text else in_tlv
        if in_tlv == in_text:
            return in_text, ""
        return (in_text, in_tlv) if self._by_text else (in_tlv, in_text)

    def _canonical(self, message_id: str) -> str:
        style = self._config.message_ids
        if style is MessageIds.AS_IS:
            return message_id
        return receipts.matching_id(message_id, hexadecimal=style.receipt_hexadecimal)


@lru_cache(maxsize=16)
def instant(now: float) -> datetime:
    """`now` in seconds. All receipts that one read brought have the same."""
    return datetime.fromtimestamp(now, UTC)


def _plain_error(error: str) -> str:
    """The carrier's list may say 27 where its receipts say 027."""
    return error.lstrip("0").upper()
