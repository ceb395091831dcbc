"""Long texts that came to nothing: what is told of the parts that had been accepted of them.

A text leaves `texts` and is written down here in one commit, so that what its customer submits afterwards is another
message; its receipts are written, and it is forgotten, later and perhaps twice.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.engines.smpp.listener.texts import PATIENCE, Texts
from landline.ports.esme_gateway import Gateway, ReportOut
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database, Record

log = structlog.get_logger()

_LEASE = timedelta(minutes=1)
"""How long one process has the receipts to itself that it is writing."""
# By ctid: joined by their keys, they might be looked for anew for each row there is (docs/design/plans.md).
_CLAIM = (
    "UPDATE smpp_customer_given_up SET due_at = $3 WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM smpp_customer_given_up WHERE system_id = $1 AND due_at <= $2"
    " ORDER BY message_id LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING *"
)


async def sweep(database: Database, gateway: Gateway, owner: UUID, bound: Iterable[str], now: datetime) -> None:
    """Give up the texts whose missing parts never came, of the `bound` accounts and of those who have gone, and have
    them reported. What cannot be done now is done by the next sweep."""
    try:
        for system_id in sorted({*bound, *await _old_ones(database, now)}):
            count = await Texts(database, system_id, owner, Alphabet.GSM).give_up(now)  # nothing is read as text
            if count:
                log.warning("smpp.incomplete_given_up", system_id=system_id, count=count)
            await _report(database, gateway, system_id, now)
    except Unavailable as error:
        log.warning("smpp.sweep_put_off", reason=error.message)


async def _old_ones(database: Database, now: datetime) -> list[str]:
    rows = await database.fetch(
        "SELECT DISTINCT system_id FROM smpp_customer_texts WHERE begun_at <= $1"
        " UNION SELECT DISTINCT system_id FROM smpp_customer_given_up WHERE due_at <= $2",
        now - PATIENCE,
        now,
    )
    return [row["system_id"] for row in rows]


async def report(database: Database, gateway: Gateway, system_id: str, now: datetime) -> None:
    """Have the receipts written of the parts of texts that came to nothing; of what cannot be now, by the sweep."""
    try:
        await _report(database, gateway, system_id, now)
    except Unavailable as error:
        log.warning("smpp.reports_put_off", system_id=system_id, reason=error.message)


async def _report(database: Database, gateway: Gateway, system_id: str, now: datetime) -> None:
    while True:
        rows = await database.fetch(_CLAIM, system_id, now, now + _LEASE)
        if not rows:
            return
        # Some may have been accepted by a process that could not say so any more.
        ids = [row["message_id"] for row in rows]
        accepted = await gateway.accepted(system_id, ids)
        reports = [_receipt(row) for row in rows if row["parts"] and row["message_id"] not in accepted]
        await gateway.unsubmitted(system_id, reports)
        await database.execute(
            "DELETE FROM smpp_customer_given_up WHERE system_id = $1 AND message_id = ANY($2)", system_id, ids
        )


def _receipt(row: Record) -> ReportOut:
    return ReportOut(
        row["message_id"],
        row["sender"],
        row["recipient"],
        MessageState(row["state"]),
        submitted_at=row["begun_at"],
        done_at=row["done_at"],
        parts=tuple(sorted(set(row["parts"]))),
    )
