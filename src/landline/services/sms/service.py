"""The use case of SMS: send. What carriers bring back is in `news`, what recipients refuse in `opt_outs`."""

from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec import Struct

from landline.core import phone
from landline.core.errors import Invalid, NotFound, NotWritten, Unavailable
from landline.core.ids import ResourceId, new_time_ordered
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.protocols.smstext import segments, smart
from landline.services.numbers.model import OwnedNumber
from landline.services.sms import records
from landline.services.sms.accept import Accepts, WrittenInPart
from landline.services.sms.guard import Guard
from landline.services.sms.limits import Limits
from landline.services.sms.model import details, messages
from landline.services.sms.model.guard import Verdict
from landline.services.sms.model.messages import FURTHEST, HALTED, Blocked, Outcome, Plan, Recipient, Refused
from landline.services.sms.model.routing import Router
from landline.services.sms.model.settings import SmsSettings
from landline.services.sms.senders import RouterNow, Senders
from landline.services.sms.settings import Settings
from landline.store.database import Database, Record

log = structlog.get_logger()
REPEATABILITY_WINDOW = timedelta(hours=24)
"""How old a first sending may be; ids are kept for longer than this, so that a repeat is always recognised."""

SHORTEST_VALIDITY_S, LONGEST_VALIDITY_S = 60, 259_200

NOT_E164 = "The recipient is not a phone number in E.164 format, such as +14255550199."
NO_NUMBER = "Invalid To phone number format."
"""ACS's words for what is written as an E.164 number and is too long for one (JavaScript SDK, recorded tests)."""


class To(Struct):
    """One recipient as asked for."""

    number: str
    repeatability_id: str | None = None
    first_sent: str | None = None
    message_id: UUID | None = None
    """The id its message is to have, which was told before; asked for again it is the same message."""


class Options(Struct):
    """What may be asked for beside sender, recipients and text."""

    report_wanted: bool = False
    tag: str | None = None
    report_timeout_s: int | None = None
    send_at: datetime | None = None
    """Not before this instant; None for now."""
    valid_for_s: int | None = None
    """Tried for so long after `send_at` and no longer; None as the resource has it."""
    smart_encoding: bool | None = None
    """Whether typographic characters may be replaced so that the text fits GSM 7-bit; None as the resource has it."""
    partner: str | None = None
    """Who is to bring the text, by the application's word (`messagingConnect`)."""


NO_CARRIER = Blocked(details.TEMPORARILY_UNAVAILABLE, "no carrier is configured for it")


class Sms:
    """Sending texts, and their reports. `wall` reads the machine's own time, which repeatability is judged by."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        senders: Senders,
        router: RouterNow,
        settings: Settings,
        limits: Limits,
        guard: Guard,
        accepts: Accepts,
        *,
        wall: Callable[[], datetime],
        report_timeout_s: int = 43_200,
    ) -> None:
        self._database = database
        self._clock = clock
        self._senders = senders
        self._router = router
        self._settings = settings
        self._limits = limits
        self._guard = guard
        self._accepts = accepts
        self._wall = wall
        self._report_timeout_s = report_timeout_s

    async def send(
        self, resource: ResourceId, sender: str, recipients: Sequence[To], body: str, options: Options
    ) -> list[Outcome]:
        """Accept `body` for each recipient and return, once that is committed, one outcome for each, in order. A
        `sender` written `pool:<name>` is one of that pool's, for each recipient its own.

        Raises `Unauthorized` when the resource does not own `sender` (acs-wire.md 4.1), `Forbidden` when it cannot
        send texts, `TooMany` over ACS's limits, `NotFound` for a pool, `Invalid` for a wrong option and where no
        recipient is written as an E.164 number; else each is an outcome, also one alone (the SDKs' own live tests).
        """
        now = self._clock.now()
        _check_times(options, now)
        outcomes, planned = self._plan_recipients(now, recipients)
        if not planned:
            return await self._nobody(resource, sender, [outcome for outcome in outcomes if outcome is not None])
        settings = await self._settings.of(resource)
        if options.smart_encoding or (options.smart_encoding is None and settings.smart_encoding):
            body = smart(body)
        size = segments(body).count
        shares = await self._senders.shares(resource, sender, planned, options.partner)
        router = await self._router()
        counted_at = self._limits.take_all(
            resource,
            [(owned.number, owned.kind, len(recipients)) for owned, recipients in shares],
            policy_on=settings.acs_limits,
        )
        for owned, share in shares:
            _route(router, owned, share, options.tag, size)
        costs = [recipient.cost or 0 for recipient in planned] if router.prices else None
        numbers = [recipient.to for recipient in planned]
        halted = settings.halts(options.tag)
        try:
            verdicts = [] if halted else await self._guard.decide(resource, numbers, size, settings, now, costs)
        except Unavailable:
            self._limits.undo(resource, _among(shares, {each.index for each in planned}), counted_at)
            raise

        def uncount(places: Set[int]) -> None:
            if not halted:
                passed = [at for at, each in enumerate(planned) if each.index in places and verdicts[at] is None]
                self._guard.undo(resource, passed, numbers, size, settings, now, costs)
            self._limits.undo(resource, _among(shares, places), counted_at)

        _block(planned, [HALTED] * len(planned) if halted else verdicts)
        rated = costs is not None or settings.caps.limits_spend
        plans = [self._plan(owned, to, body, size, options, now, settings, rated=rated) for owned, to in shares]
        try:
            repeated = await self._accept(plans, outcomes, now)
        except NotWritten:  # and is asked for again, as often as it fails
            uncount({each.index for each in planned})
            raise
        except WrittenInPart as error:  # likewise, and what was written will be found to be repeated
            uncount(error.unwritten)
            raise
        if repeated:
            uncount(repeated)
        return [outcome for outcome in outcomes if outcome is not None]

    def _plan(
        self,
        owned: OwnedNumber,
        recipients: list[Recipient],
        body: str,
        size: int,
        options: Options,
        now: datetime,
        settings: SmsSettings,
        *,
        rated: bool,
    ) -> Plan:
        begins = options.send_at or now
        valid_for_s = options.valid_for_s or settings.default_validity_seconds
        return Plan(
            resource=owned.resource,
            sender=owned.number,
            body=body,
            tag=options.tag,
            segments=size,
            report_wanted=options.report_wanted,
            accepted_at=now,
            report_by=begins + timedelta(seconds=options.report_timeout_s or self._report_timeout_s),
            recipients=recipients,
            heeds_opt_outs=owned.kind is not SenderKind.ALPHANUMERIC,
            valid_until=None if valid_for_s is None else begins + timedelta(seconds=valid_for_s),
            send_at=options.send_at,
            rated=rated,
        )

    async def _nobody(self, resource: ResourceId, sender: str, outcomes: list[Outcome]) -> list[Outcome]:
        """The `outcomes` of a request in which nobody can have a text. Raises as `send` does."""
        if all(outcome.error == NOT_E164 for outcome in outcomes):
            raise Invalid(NOT_E164 if outcomes else "There is no recipient.", target="smsRecipients")
        await self._senders.shares(resource, sender, [])  # the sender may be refused
        return outcomes

    async def _accept(self, plans: list[Plan], outcomes: list[Outcome | None], now: datetime) -> set[int]:
        """Commit `plans` and fill in their outcomes; the places of those recipients that got no new message."""
        if len(plans) == 1:  # as it is but for pools, and each message sent alone pays for a task of its own
            answers = [await self._accepts.submit(plans[0])]
        else:
            answers = await self._accepts.submit_several(plans)
        prefix, repeated = messages.outgoing_prefix(now), set[int]()
        for plan, exceptions in zip(plans, answers, strict=True):
            for recipient in plan.recipients:
                outcomes[recipient.index] = _outcome(recipient, prefix, exceptions.get(recipient.index))
            repeated |= exceptions.keys()
        return repeated

    def _plan_recipients(self, now: datetime, recipients: Sequence[To]) -> tuple[list[Outcome | None], list[Recipient]]:
        outcomes: list[Outcome | None] = [None] * len(recipients)
        planned: list[Recipient] = []
        new = sum(1 for to in recipients if to.message_id is None)
        new_ids = iter(new_time_ordered(now, new) if new else ())
        wall = self._wall()
        for index, to in enumerate(recipients):
            number = phone.parse(to.number)
            if number is None:
                outcomes[index] = Outcome(to.number, 400, error=NO_NUMBER if phone.has_form(to.number) else NOT_E164)
                continue
            if to.message_id is not None:
                planned.append(Recipient(index, number, to.message_id, to.message_id, "", ""))
                continue
            try:
                repeatability_id = messages.repeatability(
                    to.repeatability_id, to.first_sent, wall, REPEATABILITY_WINDOW
                )
            except Invalid as error:
                outcomes[index] = Outcome(to.number, 400, repeatable=False, error=error.message)
                continue
            planned.append(Recipient(index, number, next(new_ids), repeatability_id, "", ""))
        return outcomes, planned

    async def ended(self, resource: ResourceId, public_id: str) -> Record:
        """The ended outgoing message that `public_id` names. Raises `NotFound` when there is none, or no end yet."""
        message_id = messages.parse_public_id(public_id)
        async with self._database.connection() as connection:
            found = await records.find(connection, [resource], message_id) if message_id else None
        if found is None or found["state"] not in messages.FINAL:
            raise NotFound("There is no delivery report for this message.")
        return found


def _check_times(options: Options, now: datetime) -> None:
    if options.send_at is not None and not now < options.send_at <= now + FURTHEST:
        raise Invalid(f"sendAt is not within the next {FURTHEST.days} days.", target="sendAt")
    if options.valid_for_s is not None and not SHORTEST_VALIDITY_S <= options.valid_for_s <= LONGEST_VALIDITY_S:
        raise Invalid(
            f"validitySeconds is not between {SHORTEST_VALIDITY_S} and {LONGEST_VALIDITY_S}.", target="validitySeconds"
        )


def _route(router: Router, owned: OwnedNumber, recipients: list[Recipient], tag: str | None, segments: int) -> None:
    """Say of each recipient its way, and what it costs by the carrier that is tried first."""
    numbers = [recipient.to for recipient in recipients]
    routes = router.routes(owned.resource, owned.number, numbers, tag, owned.carrier)
    prices = router.prices
    for recipient, route in zip(recipients, routes, strict=True):
        recipient.route = route.rule
        if not route.carriers:
            recipient.blocked = NO_CARRIER
            continue
        recipient.carrier = route.carriers[0]
        if prices:
            price = prices.of(recipient.carrier, recipient.to)
            recipient.cost = None if price is None else price * segments


def _block(recipients: Sequence[Recipient], verdicts: Sequence[Verdict | Blocked | None]) -> None:
    """Say of each recipient that may not be sent to why."""
    for recipient, verdict in zip(recipients, verdicts, strict=True):
        if verdict is not None:
            recipient.blocked = Blocked(verdict.code, verdict.reason)


def _among(
    shares: Sequence[tuple[OwnedNumber, list[Recipient]]], places: Set[int]
) -> list[tuple[str, SenderKind, int]]:
    """How many of each sender's recipients have one of these places."""
    return [(owned.number, owned.kind, sum(each.index in places for each in share)) for owned, share in shares]


def _outcome(recipient: Recipient, prefix: str, exception: tuple[Refused, str] | None) -> Outcome:
    repeatable = None if recipient.repeatability_id is None else True
    if exception is None:
        return Outcome(recipient.to, 202, f"{prefix}{recipient.message_id}", repeatable)
    refused, public_id = exception
    if refused is Refused.REPLAYED:
        return Outcome(recipient.to, 202, public_id, repeatable)
    if refused is Refused.UNAVAILABLE:
        error = "The database was away for it, though not for others of the request: send it again."
        return Outcome(recipient.to, 503, repeatable=None if repeatable is None else False, error=error)
    return Outcome(
        recipient.to, 409, repeatable=False, error="The repeatability request id was used for another message."
    )
