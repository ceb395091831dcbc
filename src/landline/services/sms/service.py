"""The use cases of SMS: send, receive, opt-outs and looking things up. What carriers bring back is in `news`."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from landline.core import phone
from landline.core.errors import Forbidden, Invalid, NotFound, Unauthorized
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.protocols.smstext import segments
from landline.services.events.service import Events
from landline.services.numbers.model import OwnedNumber
from landline.services.numbers.service import Numbers
from landline.services.sms import records, records_inbound
from landline.services.sms.accept import Accepts
from landline.services.sms.model import messages
from landline.services.sms.model.messages import Outcome, Plan, Recipient, Refused
from landline.services.sms.model.routing import Router
from landline.store.database import Database, Record

log = structlog.get_logger()
REPEATABILITY_WINDOW = timedelta(hours=24)
"""How old a first sending may be; ids are kept for longer than this, so that a repeat is always recognised."""


@dataclass(slots=True)
class To:
    """One recipient as asked for."""

    number: str
    repeatability_id: str | None = None
    first_sent: str | None = None


@dataclass(slots=True)
class Options:
    """What may be asked for beside sender, recipients and text."""

    report_wanted: bool = False
    tag: str | None = None
    report_timeout_s: int | None = None


RouterNow = Callable[[], Awaitable[Router]]
"""The routing rules in force."""


class Sms:
    """Sending texts and looking at them. `wall` reads the machine's own time, which repeatability is judged by."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: Numbers,
        events: Events,
        accepts: Accepts,
        *,
        wall: Callable[[], datetime],
        router: RouterNow,
        report_timeout_s: int = 43_200,
    ) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._events = events
        self._accepts = accepts
        self._wall = wall
        self._router = router
        self._report_timeout_s = report_timeout_s

    async def send(
        self, resource: ResourceId, sender: str, recipients: Sequence[To], body: str, options: Options
    ) -> list[Outcome]:
        """Accept `body` for each recipient and return, once that is committed, one outcome for each, in order.

        Raises `Unauthorized` when the resource does not own `sender` (acs-wire.md 4.1), `Forbidden` when it cannot
        send texts, `Invalid` when no recipient is a phone number.
        """
        owned = await self._sender(resource, sender)
        now = self._clock.now()
        outcomes, planned = self._plan_recipients(now, recipients)
        if not planned:
            raise Invalid("No recipient is a phone number in E.164 format.", target="smsRecipients")
        router = await self._router()
        for recipient in planned:
            route = router.route(resource, sender, recipient.to, options.tag, owned.carrier)
            recipient.carrier, recipient.route = route.carriers[0], route.rule
        plan = Plan(
            resource=resource,
            sender=sender,
            body=body,
            tag=options.tag,
            segments=segments(body).count,
            report_wanted=options.report_wanted,
            accepted_at=now,
            report_by=now + timedelta(seconds=options.report_timeout_s or self._report_timeout_s),
            recipients=planned,
            heeds_opt_outs=owned.kind is not SenderKind.ALPHANUMERIC,
        )
        exceptions = await self._accepts.submit(plan)
        for recipient in planned:
            outcomes[recipient.index] = _outcome(recipient, now, exceptions.get(recipient.index))
        return [outcome for outcome in outcomes if outcome is not None]

    async def _sender(self, resource: ResourceId, sender: str) -> OwnedNumber:
        if phone.sender_kind(sender) is None:
            raise Invalid("The sender is not a phone number, short code or alphanumeric name.", target="from")
        owned = await self._numbers.sender(resource, sender)
        if owned is None:
            raise Unauthorized("The sender does not belong to this resource.", target="from")
        if not owned.sms_outbound:
            raise Forbidden("The sender cannot send text messages.", target="from")
        return owned

    def _plan_recipients(self, now: datetime, recipients: Sequence[To]) -> tuple[list[Outcome | None], list[Recipient]]:
        outcomes: list[Outcome | None] = [None] * len(recipients)
        planned: list[Recipient] = []
        ids = messages.new_ids(now, len(recipients), os.urandom(10 * len(recipients)))
        for index, to in enumerate(recipients):
            number = phone.parse(to.number)
            if number is None:
                outcomes[index] = Outcome(to.number, 400, error="The recipient is not a phone number in E.164 format.")
                continue
            try:
                repeatability_id = messages.repeatability(
                    to.repeatability_id, to.first_sent, self._wall(), REPEATABILITY_WINDOW
                )
            except Invalid as error:
                outcomes[index] = Outcome(to.number, 400, repeatable=False, error=error.message)
                continue
            planned.append(Recipient(index, number, ids[index], repeatability_id, "", ""))
        return outcomes, planned

    async def opt_out(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
        """`recipients` (E.164) get nothing more from `sender`. Raises as `send` does for the sender."""
        await self._opt_out_sender(resource, sender)
        async with self._database.transaction() as connection:
            await records_inbound.opt_out(connection, resource, sender, recipients, self._clock.now(), "api")

    async def opt_in(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
        """`recipients` get messages from `sender` again."""
        await self._opt_out_sender(resource, sender)
        async with self._database.transaction() as connection:
            await records_inbound.opt_in(connection, resource, sender, recipients)

    async def opted_out(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> set[str]:
        """Which of `recipients` get nothing from `sender`."""
        await self._opt_out_sender(resource, sender)
        async with self._database.connection() as connection:
            keys = [(resource, sender, recipient) for recipient in recipients]
            return {recipient for _, _, recipient in await records.opted_out(connection, keys)}

    async def _opt_out_sender(self, resource: ResourceId, sender: str) -> None:
        owned = await self._sender(resource, sender)
        if owned.kind is SenderKind.ALPHANUMERIC:
            raise Invalid("Alphanumeric senders have no opt-outs: nobody can answer them.", target="from")

    async def ended(self, resource: ResourceId, public_id: str) -> Record:
        """The ended outgoing message that `public_id` names. Raises `NotFound` when there is none, or no end yet."""
        message_id = messages.parse_public_id(public_id)
        async with self._database.connection() as connection:
            found = await records.find(connection, [resource], message_id) if message_id else None
        if found is None or found["state"] not in messages.FINAL:
            raise NotFound("There is no delivery report for this message.")
        return found


def _outcome(recipient: Recipient, now: datetime, exception: tuple[Refused, str] | None) -> Outcome:
    repeatable = True if recipient.repeatability_id else None
    if exception is None:
        return Outcome(recipient.to, 202, messages.outgoing_id(recipient.message_id, now), repeatable)
    refused, public_id = exception
    if refused is Refused.REPLAYED:
        return Outcome(recipient.to, 202, public_id, repeatable)
    return Outcome(
        recipient.to, 409, repeatable=False, error="The repeatability request id was used for another message."
    )
