"""Opt-outs: as SDKs set, lift and ask for them, and as an operator looks after them: lists them, enters those that were
given elsewhere, lifts them. What phones say is in `inbound`; they are heeded by `accept` and `still_wanted`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from landline.core import phone
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.edge import queries
from landline.edge.queries import Continued
from landline.ports.clock import Clock
from landline.services.insights.model import Tally
from landline.services.insights.service import Insights
from landline.services.numbers.service import Numbers
from landline.services.sms import records as messages
from landline.services.sms import records_opt_outs as records
from landline.services.sms.records_opt_outs import BEGINNING, Place, Sought
from landline.services.sms.senders import Senders
from landline.store.database import Database, Record, settle

ORIGIN = "import"
_ROWS_READ = 20_000
"""By one page, at most: some 50 ms."""
_NONE = "Alphanumeric senders have no opt-outs: nobody can answer them."
_FIRST_TEXT = datetime(1992, 12, 3, tzinfo=UTC)
_FILTERS = ("from", "to", "since", "until")
_KNOWN = {*_FILTERS, "pageSize", "continuationToken"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, behind a place."""

    sought: Sought
    behind: Place
    limit: int
    query: Mapping[str, str]
    """The filters as they were given: the next page repeats them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of sender and recipient, and the token that goes on behind them, if there may be more."""

    rows: Sequence[Record]
    token: str | None


_TOKENS = msgspec.json.Decoder(Continued[Place])


class OptOuts:
    """The opt-outs of all resources."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: Numbers,
        senders: Senders,
        insights: Insights,
        *,
        rows_read: int = _ROWS_READ,
    ) -> None:
        """`rows_read`: how many rows a page looks at, at most."""
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._senders = senders
        self._insights = insights
        self._rows_read = rows_read

    async def opt_out(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
        """`recipients` (E.164) get nothing more from `sender`. Raises as `Senders.owned` does."""
        await self._check_it_has_any(resource, sender)
        async with self._database.transaction() as connection:
            now = self._clock.now()
            tally = Tally()
            for recipient in await records.add(connection, resource, sender, recipients, now, "api"):
                tally.opted_out(resource, now, sender, None, recipient, "")
            await self._insights.count(connection, tally)
            await settle(connection)

    async def opt_in(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
        """`recipients` get messages from `sender` again."""
        await self._check_it_has_any(resource, sender)
        async with self._database.transaction() as connection:
            await records.remove(connection, resource, sender, recipients)
            await settle(connection)

    async def opted_out(self, resource: ResourceId, sender: str, recipients: Sequence[str]) -> set[str]:
        """Which of `recipients` get nothing from `sender`."""
        await self._check_it_has_any(resource, sender)
        async with self._database.connection() as connection:
            keys = [(resource, sender, recipient) for recipient in recipients]
            return {recipient for _, _, recipient in await messages.opted_out(connection, keys)}

    async def page(self, resource: ResourceId, asked: Asked) -> Page:
        """The next opt-outs of `resource` that are asked for."""
        async with self._database.connection() as connection:
            found = await records.page(
                connection, resource, asked.sought, asked.behind, self._rows_read, asked.limit + 1
            )
        rows = found.rows[: asked.limit]
        if len(found.rows) > len(rows):
            last: Place | None = (rows[-1]["sender"], rows[-1]["recipient"])
        else:
            last = found.last if found.read == self._rows_read else None
        return Page(rows, None if last is None else queries.token(Continued(str(resource), dict(asked.query), last)))

    async def enter(self, resource: ResourceId, entries: Sequence[tuple[str, str, datetime | None]]) -> int:
        """Of (sender, recipient, since when, None being now): these recipients get nothing more from these senders; how
        many of them were opted out not yet. What was said elsewhere is no answer to a campaign of ours, and is not
        counted as one. Raises `Invalid`, and has entered nothing then."""
        now = self._clock.now()
        await self._check(resource, [(sender, to) for sender, to, _ in entries])
        for index, (_, _, at) in enumerate(entries):
            if at is not None and not _FIRST_TEXT <= at <= now:
                raise Invalid(
                    "Nobody can have opted out then: it is in the future, or before there were texts.",
                    target=f"value[{index}].at",
                )
        async with self._database.transaction() as connection:
            entered = await records.enter(
                connection, resource, [(sender, to, at or now) for sender, to, at in entries], ORIGIN
            )
            if not entered:
                await settle(connection)
        return entered

    async def lift(self, resource: ResourceId, entries: Sequence[tuple[str, str]]) -> int:
        """Of (sender, recipient): these recipients get messages again; how many were opted out. Raises `Invalid`, and
        has changed nothing then."""
        await self._check(resource, entries)
        async with self._database.transaction() as connection:
            lifted = await records.lift(connection, resource, entries)
            if not lifted:
                await settle(connection)
        return lifted

    async def _check_it_has_any(self, resource: ResourceId, sender: str) -> None:
        owned = await self._senders.owned(resource, sender)
        if owned.kind is SenderKind.ALPHANUMERIC:
            raise Invalid(_NONE, target="from")

    async def _check(self, resource: ResourceId, entries: Iterable[tuple[str, str]]) -> None:
        known: set[str] = set()
        for index, (sender, to) in enumerate(entries):
            if sender not in known:
                await self._check_sender(resource, sender, f"value[{index}].from")
                known.add(sender)
            if phone.parse(to) is None:
                raise Invalid(f"{to} is no phone number in E.164 format.", target=f"value[{index}].to")

    async def _check_sender(self, resource: ResourceId, sender: str, target: str) -> None:
        owned = await self._numbers.sender(resource, sender)
        if owned is None:
            raise Invalid(f"{sender} is no number of this resource.", target=target)
        if owned.kind is SenderKind.ALPHANUMERIC:
            raise Invalid(_NONE, target=target)


def read(query: Mapping[str, str], resource: ResourceId) -> Asked:
    """What `query` asks of `resource`. With a continuation token the question is the token's; what is given beside it
    must be the same. Raises `Invalid`."""
    queries.refuse_unknown(query, _KNOWN)
    limit = queries.page_size(query)
    filters, behind = queries.question(query, _FILTERS, str(resource), _TOKENS)
    if behind is None:
        return Asked(_sought(filters), BEGINNING, limit, filters)
    try:
        return Asked(_sought(filters), behind, limit, filters)
    except Invalid:
        raise queries.no_token() from None


def _sought(filters: Mapping[str, str]) -> Sought:
    sender, to = (queries.number(filters[name], name) if name in filters else None for name in ("from", "to"))
    if to is not None and phone.parse(to) is None:  # or it would find nothing, ever
        raise Invalid("Phone numbers are in E.164 format, such as +14255550199.", target="to")
    since, until = (queries.instant(filters, name) if name in filters else None for name in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise Invalid("The range ends before it begins.", target="since")
    return Sought(sender, to, since, until)
