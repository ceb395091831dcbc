"""Finding messages: the newest first, by whom, to whom, campaign and state. A page reads a bounded piece of the table,
so that no question holds up the gateway; where nothing matched in it, the page is short and its token goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from landline.core import phone
from landline.core.errors import Invalid
from landline.core.ids import ResourceId, time_ordered
from landline.edge import queries
from landline.edge.queries import Continued
from landline.services.insights.model import NO_CARRIER
from landline.services.sms import records_search
from landline.services.sms.model.messages import State
from landline.services.sms.records_search import Sought
from landline.store.database import Database, Record

_ROWS_READ = 20_000
"""By one page, at most: some 50 ms."""
_USUAL = timedelta(days=1)
_FILTERS = ("from", "to", "tag", "carrier", "state", "code", "direction", "since", "until")
_KNOWN = {*_FILTERS, "pageSize", "continuationToken"}
_STATES = {state.name.lower(): state for state in State}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: messages whose ids are at least `first` and less than `end`."""

    sought: Sought
    incoming: bool
    first: UUID
    end: UUID
    limit: int
    query: Mapping[str, str]
    """The filters as they were given, the range filled in: the next page repeats them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of `records_search`, newest first, and the token that goes on behind them, if there may be more."""

    rows: Sequence[Record]
    token: str | None


_TOKENS = msgspec.json.Decoder(Continued[UUID])


class Search:
    """Finds messages for the admin API."""

    def __init__(self, database: Database, *, rows_read: int = _ROWS_READ) -> None:
        """`rows_read`: how many rows a page looks at, at most."""
        self._database = database
        self._rows_read = rows_read

    async def page(self, resource: ResourceId, asked: Asked) -> Page:
        """The next messages of `resource` that are asked for."""
        find = records_search.incoming if asked.incoming else records_search.outgoing
        bounds = asked.first, asked.end, self._rows_read, asked.limit + 1
        async with self._database.connection() as connection:
            found = await find(connection, resource, asked.sought, *bounds)
        rows = found.rows[: asked.limit]
        if len(found.rows) > len(rows):
            end = rows[-1]["message_id"]
        elif found.read == self._rows_read:
            end = found.last
        else:
            end = None
        return Page(rows, None if end is None else queries.token(Continued(str(resource), dict(asked.query), end)))


def read(query: Mapping[str, str], resource: ResourceId, now: datetime) -> Asked:
    """What `query` asks of `resource`; without a range, the messages of the last 24 hours.

    With a continuation token the question is the token's; what is given beside it must be the same. Raises `Invalid`.
    """
    queries.refuse_unknown(query, _KNOWN)
    limit = queries.page_size(query)
    filters, end = queries.question(query, _FILTERS, str(resource), _TOKENS)
    if end is None:
        filters.setdefault("until", (now + timedelta(milliseconds=1)).astimezone(UTC).isoformat())
        filters.setdefault("since", (queries.instant(filters, "until") - _USUAL).isoformat())
        with queries.range_of(query, "since", "until"):
            return _asked(filters, limit, None)
    try:
        return _asked(filters, limit, end)
    except (Invalid, KeyError):
        raise queries.no_token() from None


def _asked(filters: Mapping[str, str], limit: int, end: UUID | None) -> Asked:
    direction = filters.get("direction", "outgoing")
    if direction not in ("outgoing", "incoming"):
        raise Invalid("Must be outgoing or incoming.", target="direction")
    incoming = direction == "incoming"
    for name in ("state", "code"):
        if incoming and name in filters:
            raise Invalid("Texts from phones have none: leave this out.", target=name)
    since, until = queries.instant(filters, "since"), queries.instant(filters, "until")
    if since >= until:
        raise Invalid("The range ends before it begins.", target="since")
    sender, recipient = (queries.number(filters[name], name) if name in filters else None for name in ("from", "to"))
    if not incoming and recipient is not None and phone.parse(recipient) is None:  # or it would find nothing, ever
        raise Invalid("Messages go to phone numbers in E.164 format, such as +14255550199.", target="to")
    sought = Sought(
        sender,
        recipient,
        filters.get("tag"),
        _carrier(filters.get("carrier")),
        _state(filters.get("state")),
        _code(filters.get("code")),
    )
    first, last = time_ordered(since, bytes(10)), time_ordered(until, bytes(10))
    return Asked(sought, incoming, first, last if end is None else min(last, end), limit, filters)


def _carrier(text: str | None) -> str | None:
    if text is None:
        return None
    return "" if text == NO_CARRIER else queries.some(text, "carrier")


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    if text not in _STATES:
        raise Invalid(f"Must be one of {', '.join(_STATES)}.", target="state")
    return _STATES[text]


def _code(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid("Must be the detail code of a delivery report, such as 4006.", target="code")
    return int(text)
