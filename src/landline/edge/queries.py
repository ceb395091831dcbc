"""What the query strings of the admin API's questions have in common: ranges, pages, and the token a page is continued
by."""

import base64
import binascii
import re
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from landline.core.errors import Invalid

USUAL_PAGE, LARGEST_PAGE = 100, 1000
_YEARS = range(1971, 9000)
_LONGEST_FILTERS = 5_000
"""Bytes of JSON. The token repeats them, a third longer, and `Limits.target_bytes` has to hold it and its path."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

T = TypeVar("T")


class Continued(msgspec.Struct, Generic[T], array_like=True):
    """What a `continuationToken` of a list says: whose it is, the filters of the question, and the place behind which
    it goes on."""

    resource: str
    filters: dict[str, str]
    behind: T


def refuse_unknown(query: Mapping[str, str], known: Collection[str]) -> None:
    """Raise `Invalid` for a parameter that is not `known`: one misspelt would ask for more than was meant."""
    unknown = sorted(query.keys() - set(known))
    if unknown:
        raise Invalid(f"There is no such parameter; there are {', '.join(sorted(known))}.", target=unknown[0])


def page_size(query: Mapping[str, str]) -> int:
    """`pageSize`, or the usual one. Raises `Invalid`."""
    text = query.get("pageSize")
    if text is None:
        return USUAL_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LARGEST_PAGE):
        raise Invalid(f"The page size must be from 1 to {LARGEST_PAGE}.", target="pageSize")
    return int(text)


def instant(query: Mapping[str, str], name: str) -> datetime:
    """The date or instant (ISO 8601) that is given as `name`; one without an offset is UTC. Raises `Invalid`."""
    found = _iso(query[name]) or _iso("+".join(query[name].rsplit(" ", 1)))  # a + that was not written %2B
    if found is None or found.year not in _YEARS:
        raise Invalid(
            "Must be an ISO 8601 date or instant, such as 2026-03-01 or 2026-03-01T14:00:00Z. Without an offset it is"
            " UTC.",
            target=name,
        )
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@contextmanager
def range_of(query: Mapping[str, str], start: str, end: str) -> Generator[None]:
    """Around what looks at a range. Where its end alone is given, what is wrong with the beginning that follows from it
    is wrong with the end."""
    try:
        yield
    except Invalid as error:
        if error.target == start and start not in query and end in query:
            raise Invalid(error.message, target=end) from None
        raise


def some(text: str, target: str) -> str:
    """`text`, which names something. Raises `Invalid` where it is empty, as the variable that it came from was: what it
    asks for would be nothing, or all."""
    if not text:
        raise Invalid("Must not be empty.", target=target)
    return text


def number(text: str, target: str) -> str:
    """A phone number, of which the + was perhaps not written %2B; or any other sender, as it is. Raises `Invalid` where
    it is empty."""
    some(text, target)
    return f"+{text[1:]}" if text[:1] == " " and text[1:].isdigit() else text


def token(place: object) -> str:
    """The `continuationToken` that leads to `place`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place(decoder: "msgspec.json.Decoder[T]", text: str) -> T | None:
    """Where the token `text` leads to; None when `decoder` makes nothing of it."""
    try:
        encoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return None if holds_nul(encoded) else decoder.decode(encoded)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return None


def question(
    query: Mapping[str, str], filters: Collection[str], resource: str, decoder: "msgspec.json.Decoder[Continued[T]]"
) -> tuple[dict[str, str], T | None]:
    """Those of `filters` that `query` gives, and None; with a continuation token both are the token's, and what is
    given beside it must be the same. Raises `Invalid`."""
    given = {name: query[name] for name in filters if name in query}
    if "continuationToken" not in query:
        if len(msgspec.json.encode(given)) > _LONGEST_FILTERS:
            longest = max(given, key=lambda name: len(given[name].encode()))
            raise Invalid("Too long: a continuation token of this question would not fit into a URL.", target=longest)
        return given, None
    found = place(decoder, query["continuationToken"])
    if found is None or found.resource != resource or not found.filters.keys() <= set(filters):
        raise no_token()
    for name, value in given.items():
        if found.filters.get(name) != value:
            raise Invalid("The continuation token continues another question: leave this out.", target=name)
    return found.filters, found.behind


def no_token() -> Invalid:
    """What is given as one is no continuation token of this list."""
    return Invalid("This is not a continuation token of this list.", target="continuationToken")


def holds_nul(encoded: bytes) -> bool:
    """Whether the JSON text `encoded` has the character NUL, which PostgreSQL's text does not take, and for which no
    string of this wire has use."""
    return b"\\u0000" in encoded and _NUL.search(encoded) is not None


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
