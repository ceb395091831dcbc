"""The query string of the insights, read: ranges, groups, filters, pages, and the token a page is continued by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.edge import queries
from landline.services.insights.model import NO_CARRIER, TAG_CHARACTERS, instant
from landline.services.insights.questions import SELECTING, Dimension, Place, Question

_USUAL_HOURS = 24
_KNOWN = {"from", "to", "by", "format", "pageSize", "continuationToken", *(each.value for each in SELECTING)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    question: Question
    after: Place | None
    limit: int


class _Token(msgspec.Struct, array_like=True):
    resource: str
    start: int
    end: int
    by: list[str]
    where: list[tuple[str, str]]
    after: list[str | int]


_TOKENS = msgspec.json.Decoder(_Token)


def read(query: Mapping[str, str], resource: ResourceId, now: datetime) -> Asked:
    """What `query` asks of `resource`. Without a range the last 24 hours, the present one included.

    With a continuation token the question is the token's; what is given beside it must be the same. Raises `Invalid`.
    """
    queries.refuse_unknown(query, _KNOWN)
    limit = queries.page_size(query)
    if "continuationToken" in query:
        question, after = _continued(query["continuationToken"], resource)
        _same(query, question)
        return Asked(question, after, limit)
    end = _hour(query, "to") if "to" in query else _rounded_up(now)
    start = _hour(query, "from") if "from" in query else end - _USUAL_HOURS
    if start >= end:
        raise Invalid("The range ends before it begins.", target="from")
    return Asked(Question(start, end, _by(query.get("by", "")), _where(query)), None, limit)


def token(resource: ResourceId, question: Question, last: Place) -> str:
    """By which the groups behind `last` are asked for."""
    where = [(each.value, value) for each, value in question.where]
    by = [each.value for each in question.by]
    return queries.token(_Token(str(resource), question.start, question.end, by, where, list(last)))


def hour_text(hour: int) -> str:
    """`2026-03-01T14:00:00Z`"""
    return f"{instant(hour):%Y-%m-%dT%H:%M:%SZ}"


def day_text(day: int) -> str:
    """`2026-03-01`"""
    return f"{instant(day * 24):%Y-%m-%d}"


def _hour(query: Mapping[str, str], name: str) -> int:
    """The hour of an instant: a range is widened to whole hours."""
    at = queries.instant(query, name)
    return _rounded_up(at) if name == "to" else int(at.timestamp()) // 3600


def _rounded_up(at: datetime) -> int:
    hour = int(at.timestamp()) // 3600
    return hour if instant(hour) == at else hour + 1


def _by(text: str) -> tuple[Dimension, ...]:
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    try:
        by = tuple(Dimension(name) for name in names)
    except ValueError:
        known = ", ".join(each.value for each in Dimension)
        raise Invalid(f"Can be grouped by {known}; several are parted by commas.", target="by") from None
    if len(set(by)) < len(by):
        raise Invalid("A dimension is named twice.", target="by")
    return by


def _where(query: Mapping[str, str]) -> tuple[tuple[Dimension, str], ...]:
    return tuple((each, _value(each, query[each.value])) for each in SELECTING if each.value in query)


def _value(dimension: Dimension, text: str) -> str:
    if dimension is Dimension.TAG:
        return text[:TAG_CHARACTERS]  # as it is counted; empty for messages without a tag
    queries.some(text, dimension.value)
    if dimension is Dimension.COUNTRY:
        if not (len(text) == 2 and text.isascii() and text.isalpha()):
            raise Invalid("Must be a country's two letters (ISO 3166-1), such as US.", target="country")
        return text.upper()
    if dimension is Dimension.CARRIER:
        return "" if text == NO_CARRIER else text
    return queries.number(text, dimension.value)


def _continued(text: str, resource: ResourceId) -> tuple[Question, Place]:
    found = queries.place(_TOKENS, text)
    if found is None:
        raise _no_token()
    try:
        by = tuple(Dimension(name) for name in found.by)
        where = tuple((Dimension(name), value) for name, value in found.where)
    except ValueError:
        raise _no_token() from None
    kinds = [int if each in (Dimension.HOUR, Dimension.DAY) else str for each in by]
    fits = [type(value) for value in found.after] == kinds and found.resource == str(resource)
    hours = (found.start, found.end, *(value for value in found.after if isinstance(value, int)))
    if not fits or not by or len(set(by)) < len(by) or not all(0 <= hour < 1 << 30 for hour in hours):
        raise _no_token()
    if not found.start < found.end or any(each not in SELECTING for each, _ in where):
        raise _no_token()
    return Question(found.start, found.end, by, where), tuple(found.after)


def _same(query: Mapping[str, str], question: Question) -> None:
    """Raises `Invalid` when what is given beside a token is not what the token continues."""
    where = dict(question.where)
    given: list[tuple[str, bool]] = [
        ("from", "from" in query and _hour(query, "from") != question.start),
        ("to", "to" in query and _hour(query, "to") != question.end),
        ("by", "by" in query and _by(query["by"]) != question.by),
        *((each.value, where.get(each) != value) for each, value in _where(query)),
    ]
    for name, differs in given:
        if differs:
            raise Invalid("The continuation token continues another question: leave this out.", target=name)


def _no_token() -> Invalid:
    return Invalid("This is not a continuation token of these insights.", target="continuationToken")
