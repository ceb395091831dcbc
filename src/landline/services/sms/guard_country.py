"""The country of a destination, for the guard: by its calling code where that is one country's, which is quick, and
else by the numbering plans, remembered by the digits that settle it."""

from collections import OrderedDict

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    REGION_CODE_FOR_NON_GEO_ENTITY,
    NumberParseException,
    parse,
    region_code_for_number,
)

from landline.services.sms.model.settings import NO_COUNTRY

_DECIDING_DIGITS = {1: 5, 7: 4, 44: 7}
_OTHERWISE = 8
"""How many digits settle the country in a shared calling code: in +1 the area code and one more, because some area
codes are no one country's; in +262 it takes eight to know Mayotte. The codes with most numbers have their own."""
_REMEMBERED = 50_000


class Countries:
    """`country` of numbers, with what was found for the starts of numbers asked for lately."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, str] = OrderedDict()

    def country(self, number: str) -> str:
        """The ISO 3166-1 code of the country of an E.164 number, `ZZ` when its calling code is no country's. A number
        in no known range is of the country that its calling code is best known for."""
        for digits in (1, 2, 3):
            code = int(number[1 : 1 + digits])
            regions = COUNTRY_CODE_TO_REGION_CODE.get(code)
            if regions is not None:
                best_known, *others = regions
                if others:
                    return self._shared(number, code, best_known)
                return NO_COUNTRY if best_known == REGION_CODE_FOR_NON_GEO_ENTITY else best_known
        return NO_COUNTRY

    def _shared(self, number: str, code: int, best_known: str) -> str:
        start = number[: 1 + _DECIDING_DIGITS.get(code, _OTHERWISE)]
        found = self._found.get(start)
        if found is None:
            found = self._found[start] = _by_plan(number) or best_known
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return found


def _by_plan(number: str) -> str | None:
    try:
        return region_code_for_number(parse(number))
    except NumberParseException:  # too short for its country
        return None
