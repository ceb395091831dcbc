"""Operators of numbers from the numbering plans alone: free, offline, and blind to ported numbers."""

import asyncio

from landline.core.phone import Phone
from landline.ports.operator_lookup import LineType, NumberOperator


class NumberingPlans:
    """Fills `ports.operator_lookup.OperatorLookup` from the metadata of `phonenumbers`. Network codes are not in it."""

    async def look_up(self, number: Phone) -> NumberOperator:
        """In a thread: the tables are read in when the first number is asked for."""
        return await asyncio.to_thread(_look_up, number)


def _look_up(number: Phone) -> NumberOperator:
    import phonenumbers
    from phonenumbers import carrier

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return NumberOperator()
    kinds = phonenumbers.PhoneNumberType
    found = phonenumbers.number_type(parsed)
    if found == kinds.UNKNOWN:
        line_type = LineType.UNKNOWN
    elif found == kinds.MOBILE:
        line_type = LineType.MOBILE
    elif found in (kinds.FIXED_LINE, kinds.FIXED_LINE_OR_MOBILE):
        line_type = LineType.GEOGRAPHIC
    else:
        line_type = LineType.OTHER
    country = phonenumbers.region_code_for_number(parsed)
    name = carrier.name_for_valid_number(parsed, "en")
    return NumberOperator(line_type, country if country != "001" else None, name or None)
