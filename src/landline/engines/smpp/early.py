"""Receipts of a long message's parts that came before anybody knew that they were such."""

from collections.abc import Collection
from datetime import datetime

from landline.engines.smpp.records import Records
from landline.ports.sms_carrier import CarrierEvents


async def fold_early(
    carrier: str, events: CarrierEvents, records: Records, parts: Collection[str], now: datetime
) -> None:
    """The ids `parts` are those of long messages' parts, as `records` has them by now: the receipts that the service
    keeps under them become those of their messages. To be done before the submissions are told, or else the receipt of
    a message's first part would count as the whole's; and by whoever may have brought such receipts meanwhile. It may
    be repeated. Raises `Unavailable`."""
    early = await events.early(carrier, list(parts))
    if not early:
        return
    whole = await records.fold(early, now)
    if whole:
        await events.reported(carrier, whole)
    kept = {receipt.carrier_message_id for receipt in whole}  # a message has the id of its first part
    await events.forget_early(
        carrier, [each.carrier_message_id for each in early if each.carrier_message_id not in kept]
    )
