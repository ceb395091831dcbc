"""Customers who speak SMPP, behind the same service as the REST API: who may bind, and what they submit. Fills the port
`Gateway`. What they are brought: `esme_out`, `esme_worker`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from landline.core.errors import Conflict, Invalid, Refusal, Unavailable
from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.ports.esme_gateway import Account, Cancellation, CustomerSubmission, MessageStatus, ReportOut, ReportWish
from landline.protocols.smpp.commands import MessageState
from landline.services.sms import records_esme as records
from landline.services.sms.accounts import Accounts
from landline.services.sms.esme_out import EsmeOut
from landline.services.sms.model import esme
from landline.services.sms.model.messages import FINAL, Outcome, State
from landline.services.sms.records_esme import Origin
from landline.services.sms.service import LONGEST_VALIDITY_S, SHORTEST_VALIDITY_S, Options, Sms, To
from landline.store.database import Database
from landline.store.group_commit import GroupCommit

log = structlog.get_logger()

_TEXT_LIMIT = 2048  # as `wire.sms.SendMessageRequest`
_CANCELED_AT_ONCE = 1000
Cancel = Callable[[UUID, Sequence[UUID]], Awaitable[set[UUID]]]
"""`TakingBack.cancel`."""


class Sends(Protocol):
    """Sending one message whose id is given. Repeating it changes nothing."""

    async def submit(
        self,
        resource: ResourceId,
        sender: str,
        recipient: str,
        text: str,
        *,
        message_id: UUID,
        report_wanted: bool,
        tag: str | None,
        send_at: datetime | None,
        valid_until: datetime | None,
    ) -> Outcome:
        """Accept and commit. `send_at` and `valid_until` are those of `Plan`. Raises `Refusal`, `Unavailable`."""
        ...


class Esme:
    """See the module. `on_bound` is set by the worker of this process, if it has one."""

    def __init__(
        self, database: Database, clock: Clock, accounts: Accounts, out: EsmeOut, sends: Sends, cancel: Cancel
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._out = out
        self._sends = sends
        self._cancel = cancel
        self._remembering: GroupCommit[list[Origin], None] = GroupCommit(self._remember, lanes=2)
        self.on_bound: Callable[[str], None] = _nothing

    async def authenticate(self, system_id: str, password: str, address: str) -> Account | None:
        """See `ports.esme_gateway.Gateway`."""
        found = await self._accounts.authenticate(system_id, password, address)
        return found.right if found is not None else None

    def bound(self, account: Account) -> None:
        """See `ports.esme_gateway.Gateway`."""
        self.on_bound(account.system_id)

    def new_ids(self, count: int) -> list[UUID]:
        """See `ports.esme_gateway.Gateway`."""
        return esme.new_ids(self._clock.now(), count, os.urandom(10 * count))

    async def submit(
        self, account: Account, submissions: Sequence[CustomerSubmission]
    ) -> Sequence[Refusal | Unavailable | None]:
        """See `ports.esme_gateway.Gateway`."""
        assert all(esme.is_customers(submission.message_id) for submission in submissions)
        origins = [Origin(account, submission) for submission in submissions]
        await self._remembering.submit(origins)
        errors = await asyncio.gather(*(self._send(account, submission) for submission in submissions))
        refused = [
            submission.message_id
            for submission, error in zip(submissions, errors, strict=True)
            if isinstance(error, Refusal)
        ]
        there = await self._forget(account.resource, refused) if refused else ()
        return [
            None if submission.message_id in there else error
            for submission, error in zip(submissions, errors, strict=True)
        ]

    async def _send(self, account: Account, submission: CustomerSubmission) -> Refusal | Unavailable | None:
        try:
            outcome = await self._sends.submit(
                account.resource,
                submission.sender,
                submission.recipient,
                submission.text,
                message_id=submission.message_id,
                report_wanted=submission.wish is not ReportWish.NEVER,
                tag=None,
                send_at=submission.send_at,
                valid_until=submission.valid_until,
            )
        except (Refusal, Unavailable) as error:
            return error
        if outcome.status == 202:
            return None
        if outcome.status == 400:
            return Invalid(outcome.error or "The recipient cannot be sent to.", target="smsRecipients")
        return Conflict(outcome.error or "The message was not accepted.")

    async def _remember(self, batches: list[list[Origin]]) -> list[None]:
        async with self._database.connection() as connection:
            await records.remember(connection, [origin for batch in batches for origin in batch])
        return [None] * len(batches)

    async def _forget(self, resource: ResourceId, messages: Sequence[UUID]) -> Collection[UUID]:
        """Forget whose the refused `messages` are, but for those that were accepted when they came before, which are
        returned: what would be refused by now is not, and its customer still waits for its receipts."""
        try:
            async with self._database.connection() as connection:
                return await records.forget(connection, resource, messages)
        except Unavailable:  # they stand for nothing, and the sweep finds them
            log.warning("sms.esme_not_forgotten", count=len(messages))
            return ()

    async def unsubmitted(self, system_id: str, reports: Sequence[ReportOut]) -> None:
        """See `ports.esme_gateway.Gateway`."""
        account = await self._accounts.find(system_id) if reports else None
        if account is None:
            return
        # Its system id may have been another's before, whose texts are none of its business.
        own = [report for report in reports if report.submitted_at >= account.created_at]
        async with self._database.transaction() as connection:
            woken = await self._out.unsubmitted(connection, account.resource, account.system_id, own)
        self._out.committed(woken)

    async def accepted(self, system_id: str, messages: Sequence[UUID]) -> Collection[UUID]:
        """See `ports.esme_gateway.Gateway`."""
        account = await self._accounts.find(system_id)
        if account is None:
            return ()
        async with self._database.connection() as connection:
            return await records.accepted(connection, account.resource, messages)

    async def status(self, account: Account, message_id: UUID) -> MessageStatus | None:
        """See `ports.esme_gateway.Gateway`."""
        if not esme.is_customers(message_id):
            return None
        async with self._database.connection() as connection:
            row = await records.status(connection, account, message_id)
        if row is None:
            return None
        if row["state"] not in FINAL:
            return MessageStatus(MessageState.ENROUTE)
        delivered = row["state"] == State.DELIVERED
        return MessageStatus(esme.receipt_state(delivered, row["code"], row["canceled"]), row["ended_at"])

    async def cancel(self, account: Account, named: Cancellation) -> int:
        """See `ports.esme_gateway.Gateway`. At most 1,000 at once."""
        async with self._database.connection() as connection:
            found = await records.waiting(connection, account, named, self._clock.now(), limit=_CANCELED_AT_ONCE)
        return len(await self._cancel(account.resource, found))


class PlannedSends:
    """`Sends` by way of `Sms.send`: the same rights, limits, guard and routes as REST."""

    def __init__(self, sms: Sms, clock: Clock) -> None:
        self._sms = sms
        self._clock = clock

    async def submit(
        self,
        resource: ResourceId,
        sender: str,
        recipient: str,
        text: str,
        *,
        message_id: UUID,
        report_wanted: bool,
        tag: str | None,
        send_at: datetime | None,
        valid_until: datetime | None,
    ) -> Outcome:
        """See `Sends`."""
        if len(text) > _TEXT_LIMIT:
            raise Invalid(f"A text has at most {_TEXT_LIMIT} characters.", target="message")
        now = self._clock.now()
        if send_at is not None and send_at <= now:
            send_at = None  # it was to come when the text came, and has come since
        valid_for_s = None if valid_until is None else _valid_for_s(valid_until, send_at or now)
        options = Options(report_wanted=report_wanted, tag=tag, send_at=send_at, valid_for_s=valid_for_s)
        to = To(recipient, message_id=message_id)
        (outcome,) = await self._sms.send(resource, sender, [to], text, options)
        return outcome


def _valid_for_s(valid_until: datetime, begins: datetime) -> int:
    """As REST bounds it, which refuses what is beyond: an SMSC may set its own bounds (SMPP 3.4 §5.2.16)."""
    asked = int((valid_until - begins).total_seconds())
    return min(max(asked, SHORTEST_VALIDITY_S), LONGEST_VALIDITY_S)


def _nothing(_system_id: str) -> None:
    return None
