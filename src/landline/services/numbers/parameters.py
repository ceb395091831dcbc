"""Reads the values of requests to the phone numbers service; what cannot be read is refused by its wire name."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeVar
from uuid import UUID

from landline.core.phone import SenderKind
from landline.services.numbers import lookup
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import Assignment, InvalidInput, Want

PAGE, PAGE_AT_MOST = 100, 1000
_INT32 = 2_147_483_647
NIL = UUID(int=0)
"""Nobody's id; every other sorts after it."""
KINDS = (SenderKind.GEOGRAPHIC, SenderKind.TOLL_FREE, SenderKind.MOBILE, SenderKind.SHORT_CODE)
"""What is sold. Short codes are ours: ACS sells them by other means."""
E = TypeVar("E", bound=Enum)


def want_of(
    *,
    country: str,
    kind: str,
    assignment: str | None,
    sms: str | None,
    calling: str | None,
    area_code: str | None = None,
    prefixes: Sequence[str] = (),
) -> Want:
    """What a request is looking for. Raises `InvalidInput`."""
    return Want(
        country_of(country),
        kind_of(kind, "phoneNumberType"),
        assignment_of(assignment),
        directions_of(sms, "capabilities.sms") or Directions.NONE,
        directions_of(calling, "capabilities.calling") or Directions.NONE,
        area_code or None,
        tuple(prefix.removeprefix("+") for prefix in prefixes),  # of numbers as they are shown, or of their ids
    )


def country_of(text: str) -> str:
    """An ISO 3166-1 code of two letters. Raises `InvalidInput` as Azure's recorded answer has it."""
    code = text.upper()
    if not (len(code) == 2 and code.isascii() and lookup.is_country(code)):
        raise InvalidInput("Unable to parse country code.", target="countrycode")
    return code


def kind_of(text: str, target: str) -> SenderKind:
    """The kind of number called `text`, one that is sold. Raises `InvalidInput` for `target`, as do the following."""
    kind = _one_of(SenderKind, text, target)
    if kind not in KINDS:
        raise InvalidInput(f"Must be one of: {', '.join(each.value for each in KINDS)}.", target=target)
    return kind


def optional_kind(text: str | None) -> SenderKind | None:
    """The kind of number called `text`; None where it was left out."""
    return None if text is None else kind_of(text, "phoneNumberType")


def assignment_of(text: str | None) -> Assignment | None:
    """Whom a number is for, an application or a person; None where it was left out."""
    return None if text is None else _one_of(Assignment, text, "assignmentType")


def directions_of(text: str | None, target: str) -> Directions | None:
    """Which ways a number is to serve; None where it was left out."""
    return None if text is None else _one_of(Directions, text, target)


def uuid_of(text: str) -> UUID | None:
    """The UUID that `text` is, in its usual form of 36 characters."""
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None


def page_of(query: Mapping[str, str], *, size: str) -> tuple[int, int]:
    """(entries to skip, entries to give). More than `PAGE_AT_MOST` are never given at once."""
    skip = _number(query, "skip", 0, least=0)
    return skip, min(_number(query, size, PAGE, least=1), PAGE_AT_MOST)


def _number(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= _INT32):
        raise InvalidInput(f"Must be a whole number from {least} to {_INT32}.", target=name)
    return int(text)


def _one_of(kind: type[E], text: str, target: str) -> E:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise InvalidInput(f"Must be one of: {known}.", target=target) from None
