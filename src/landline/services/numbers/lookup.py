"""Formatting of numbers, and who operates them."""

import asyncio
from dataclasses import dataclass

from landline.core import phone
from landline.core.errors import Unavailable
from landline.core.phone import SenderKind
from landline.ports.operator_lookup import NumberOperator, OperatorLookup
from landline.services.numbers.offers import InvalidInput

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Looked:
    """One number looked up; without details `operator` is None."""

    number: str
    national: str
    international: str
    operator: NumberOperator | None


class Lookup:
    """Looks numbers up. Formats come from the numbering plans, everything else from `operators`."""

    def __init__(self, operators: OperatorLookup, *, timeout_s: float = TIMEOUT_S) -> None:
        self._operators = operators
        self._timeout_s = timeout_s

    async def look_up(self, number: str, *, details: bool) -> Looked:
        """`number` in its formats; with `details` also what is known of it. Raises `InvalidInput`, `Unavailable`."""
        parsed = phone.parse(number)
        if parsed is None:
            raise InvalidInput("The number is not in E.164 format (+14255550100).", target="phoneNumbers")
        national, international = formats(parsed)
        operator = None
        if details:
            try:
                async with asyncio.timeout(self._timeout_s):
                    operator = await self._operators.look_up(parsed)
            except TimeoutError:
                raise Unavailable("Who knows the operators of numbers did not answer in time.") from None
        return Looked(number, national, international, operator)


def formats(number: phone.Phone) -> tuple[str, str]:
    """(national, international) as the number's country writes it. Raises `InvalidInput` when no country has such."""
    import phonenumbers  # its tables are only needed when numbers are looked up

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise InvalidInput("No country has such phone numbers.", target="phoneNumbers") from None
    kinds = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(parsed, kinds.NATIONAL), phonenumbers.format_number(parsed, kinds.INTERNATIONAL)


def country_of(number: str) -> str:
    """The ISO code of an owned number's country. A short code tells none: those of hand-added ones count as US."""
    import phonenumbers

    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number)) or "ZZ"
    except phonenumbers.NumberParseException:
        return "US"


def area_code_of(number: str, kind: SenderKind) -> str | None:
    """The area code of a geographic or toll-free number, as its country's plan has it."""
    if kind is SenderKind.SHORT_CODE:
        return None
    import phonenumbers

    parsed = phonenumbers.parse(number)
    if kind is SenderKind.TOLL_FREE:
        length = phonenumbers.length_of_national_destination_code(parsed)
    else:
        length = phonenumbers.length_of_geographical_area_code(parsed)
    return phonenumbers.national_significant_number(parsed)[:length] or None


def is_country(code: str) -> bool:
    """Whether `code` is the ISO code of a country with phone numbers."""
    import phonenumbers

    return code in phonenumbers.SUPPORTED_REGIONS
