"""What customers who speak SMPP are to be brought: receipts and texts, written in the transaction of the message's end
or the text's arrival. `esme_worker` brings them.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.ports.esme_gateway import ReportOut
from landline.services.sms import records_esme as records
from landline.services.sms.accounts import Accounts
from landline.services.sms.model import esme
from landline.services.sms.model.messages import State
from landline.services.sms.records import Row
from landline.services.sms.records_esme import Ended
from landline.store.changes import Changes
from landline.store.database import Connection, Record

WAITING = "sms_esme_out"
"""The subject of changes by which processes tell each other that something waits for a system id."""

Woken = frozenset[str]
"""System ids for which a transaction wrote something, and of which it tells no other process."""
_NOBODY: Woken = frozenset()


class EsmeOut:
    """See the module. `on_waiting` and `receives` are set by the worker of this process, if it has one."""

    def __init__(self, clock: Clock, changes: Changes, accounts: Accounts) -> None:
        self._clock = clock
        self._changes = changes
        self._accounts = accounts
        self.on_waiting: Callable[[str], None] = _nothing
        self.receives: Callable[[str], int] = _nobody

    async def unsubmitted(
        self, connection: Connection, resource: ResourceId, system_id: str, reports: Sequence[ReportOut]
    ) -> Woken:
        """Write receipts of what came to nothing before it was accepted. What is returned goes to `committed`."""
        now = self._clock.now()
        outs = [(time_ordered(now, os.urandom(10)), report, esme.unsubmitted_code(report.state)) for report in reports]
        await records.bring_reports(connection, resource, system_id, outs, now)
        return await self._announce(connection, {system_id})

    async def ended(self, connection: Connection, rows: Sequence[Record]) -> Woken:
        """In the transaction that ends messages: write the receipts customers wait for. `rows` are the ended ones as
        `records` returns them; what is returned goes to `committed`. Messages of others cost nothing."""
        return await self._report(
            connection,
            [
                (
                    row["resource_id"],
                    row["message_id"],
                    row["accepted_at"],
                    row["ended_at"],
                    row["state"] == State.DELIVERED,
                    row["code"],
                    row["sender"],
                    row["recipient"],
                )
                for row in rows
                if esme.is_customers(row["message_id"])
            ],
        )

    async def blocked(self, connection: Connection, rows: Sequence[Row]) -> Woken:
        """As `ended`, for messages that end as they are accepted: those of `rows` that are blocked."""
        return await self._report(
            connection,
            [
                (
                    row.plan.resource,
                    row.recipient.message_id,
                    row.plan.accepted_at,
                    row.plan.accepted_at,
                    False,
                    row.blocked.code,
                    row.plan.sender,
                    row.recipient.to,
                )
                for row in rows
                if row.blocked is not None and esme.is_customers(row.recipient.message_id)
            ],
        )

    async def _report(
        self,
        connection: Connection,
        ended: Sequence[tuple[ResourceId, UUID, datetime, datetime, bool, int, str, str]],
    ) -> Woken:
        if not ended:
            return _NOBODY
        now = self._clock.now()
        told = [Ended(each[0], each[1], time_ordered(now, os.urandom(10)), *each[2:]) for each in ended]
        return await self._announce(connection, await records.report(connection, told, now))

    async def arrived(
        self,
        connection: Connection,
        *,
        resource: ResourceId,
        message_id: UUID,
        sender: str,
        recipient: str,
        text: str,
    ) -> Woken:
        """In the transaction that stores a received text: write it for the accounts that get the texts to `recipient`,
        a number of `resource`. What is returned goes to `committed`. No statement when there is no such account."""
        accounts = await self._accounts.wanting_texts(connection, resource, recipient)
        if not accounts:
            return _NOBODY
        now = self._clock.now()
        outs = [(account.system_id, time_ordered(now, os.urandom(10))) for account in accounts]
        await records.bring_text(connection, resource, outs, message_id, sender, recipient, text, now)
        return await self._announce(connection, {system_id for system_id, _ in outs})

    async def _announce(self, connection: Connection, system_ids: set[str]) -> Woken:
        """Have the processes told that the accounts are bound to, unless it is this one."""
        here = {system_id for system_id in system_ids if self.receives(system_id)}
        for system_id in sorted(system_ids - here):
            await self._changes.publish(connection, WAITING, system_id)
        return frozenset(here)

    def committed(self, woken: Woken) -> None:
        """The transaction in which `ended`, `blocked` or `arrived` returned this has committed."""
        for system_id in woken:
            self.on_waiting(system_id)


def _nothing(_system_id: str) -> None:
    return None


def _nobody(_system_id: str) -> int:
    return 0
