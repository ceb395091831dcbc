"""The virtual stock of `landline dev`: plausible numbers by country, kind and area, made when asked for, never stored.

A number is in it when it lies in one of the areas below and its country's plan knows such numbers; so the same numbers
are in it in every run. Only simulated handsets are behind them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import NOT_TO_BE_RESOLD, Assignment, Cost, Offer, Place, Terms, Want

_BOTH, _NONE = Directions.BOTH, Directions.NONE
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Area:
    """All numbers of `prefix` and `free` more digits, the first of them at least `first`."""

    country: str
    kind: SenderKind
    code: str | None
    prefix: str
    free: int
    first: int = 0
    place: Place | None = None


def _towns(country: str, calling_code: str, free: int, first: int, *rows: tuple[str, ...]) -> list[Area]:
    return [
        Area(country, SenderKind.GEOGRAPHIC, code, calling_code + code, free, first, Place(*place))
        for code, *place in rows
    ]


def _codes(country: str, kind: SenderKind, calling_code: str, free: int, *codes: str, first: int = 0) -> list[Area]:
    return [Area(country, kind, code, calling_code + code, free, first) for code in codes]


# fmt: off
AREAS: tuple[Area, ...] = (
    *_towns("US", "1", 7, 2,
            ("206", "Seattle", "Washington", "WA"), ("212", "New York", "New York", "NY"),
            ("213", "Los Angeles", "California", "CA"), ("303", "Denver", "Colorado", "CO"),
            ("305", "Miami", "Florida", "FL"), ("312", "Chicago", "Illinois", "IL"),
            ("404", "Atlanta", "Georgia", "GA"), ("415", "San Francisco", "California", "CA"),
            ("425", "Bellevue", "Washington", "WA"), ("503", "Portland", "Oregon", "OR"),
            ("512", "Austin", "Texas", "TX"), ("602", "Phoenix", "Arizona", "AZ"),
            ("617", "Boston", "Massachusetts", "MA"), ("702", "Las Vegas", "Nevada", "NV"),
            ("713", "Houston", "Texas", "TX"), ("907", "Anchorage", "Alaska", "AK")),
    *_towns("CA", "1", 7, 2,
            ("403", "Calgary", "Alberta", "AB"), ("416", "Toronto", "Ontario", "ON"),
            ("514", "Montreal", "Quebec", "QC"), ("604", "Vancouver", "British Columbia", "BC")),
    *_towns("GB", "44", 7, 4, ("121", "Birmingham"), ("131", "Edinburgh"), ("161", "Manchester")),
    *_towns("GB", "44", 8, 3, ("20", "London")),
    *_towns("IE", "353", 7, 2, ("1", "Dublin")),
    *_towns("FR", "33", 8, 1, ("1", "Paris"), ("4", "Lyon")),
    *_towns("DE", "49", 8, 2, ("30", "Berlin"), ("89", "Munich")),
    *_towns("ES", "34", 7, 2, ("91", "Madrid"), ("93", "Barcelona")),
    *_towns("NL", "31", 7, 2, ("20", "Amsterdam")),
    *_towns("SE", "46", 8, 1, ("8", "Stockholm")),
    *_towns("DK", "45", 6, 0, ("32", "Copenhagen")),
    *_towns("AU", "61", 8, 8, ("2", "Sydney"), ("3", "Melbourne")),
    *_codes("US", SenderKind.TOLL_FREE, "1", 7, "833", "844", "855", "866", "877", "888", first=2),
    *_codes("CA", SenderKind.TOLL_FREE, "1", 7, "855", "866", "877", first=2),
    *_codes("GB", SenderKind.TOLL_FREE, "44", 7, "800"),
    *_codes("IE", SenderKind.TOLL_FREE, "353", 6, "1800"),
    *_codes("FR", SenderKind.TOLL_FREE, "33", 6, "800"),
    *_codes("DE", SenderKind.TOLL_FREE, "49", 7, "800", first=1),
    *_codes("ES", SenderKind.TOLL_FREE, "34", 6, "900"),
    *_codes("NL", SenderKind.TOLL_FREE, "31", 7, "800"),
    *_codes("SE", SenderKind.TOLL_FREE, "46", 6, "20"),
    *_codes("DK", SenderKind.TOLL_FREE, "45", 6, "80"),
    *_codes("AU", SenderKind.TOLL_FREE, "61", 6, "1800"),
    *_codes("GB", SenderKind.MOBILE, "44", 6, "7400"),
    *_codes("IE", SenderKind.MOBILE, "353", 7, "85", first=1),
    *_codes("FR", SenderKind.MOBILE, "33", 6, "644"),
    *_codes("DE", SenderKind.MOBILE, "49", 8, "151"),
    *_codes("ES", SenderKind.MOBILE, "34", 8, "6"),
    *_codes("NL", SenderKind.MOBILE, "31", 8, "6", first=1),
    *_codes("SE", SenderKind.MOBILE, "46", 7, "70"),
    *_codes("AU", SenderKind.MOBILE, "61", 8, "4", first=1),
    Area("US", SenderKind.SHORT_CODE, None, "", 5, first=2),
)
# fmt: on


def _terms(area: Area) -> Iterator[Terms]:
    north_american = area.country in ("US", "CA")
    application, person = Assignment.APPLICATION, Assignment.PERSON
    texts = _BOTH if north_american else _NONE
    match area.kind:
        case SenderKind.GEOGRAPHIC:  # for applications in North America with SMS: 10DLC
            yield Terms(area.country, area.kind, application, texts, _BOTH, Cost(Decimal(1)))
            yield Terms(area.country, area.kind, person, _NONE, _BOTH, Cost(Decimal(1)))
        case SenderKind.TOLL_FREE:
            yield Terms(area.country, area.kind, application, texts, _BOTH, Cost(Decimal(2)))
        case SenderKind.MOBILE:
            yield Terms(area.country, area.kind, application, _BOTH, _BOTH, Cost(Decimal(3)))
        case _:
            yield Terms(area.country, area.kind, application, _BOTH, _NONE, Cost(Decimal(500)))


TERMS: tuple[Terms, ...] = tuple(dict.fromkeys(terms for area in AREAS for terms in _terms(area)))
"""Each country's offerings, each once. Prices are those of ACS in the US in 2021; a short code's is of its kind."""


class VirtualStock:
    """The numbers of `AREAS`. `random` decides which are shown first, never which there are."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def offers(self, want: Want, count: int) -> list[Offer]:
        """Up to `count` different numbers that are wanted, in no order, each with all that is offered for it."""
        terms = next((each for each in TERMS if each.meet(want)), None)
        ranges = [found for area in AREAS for found in _within(area, want)]
        if terms is None or not ranges:
            return []
        found: dict[str, Offer] = {}
        for _ in range(count * _TRIES):
            area, start = self._random.choice(ranges)
            number = self._number(area, start)
            if number not in found and _planned(area, number):
                found[number] = _offer(number, terms)
                if len(found) == count:
                    break
        return list(found.values())

    def find(self, number: str, want: Want) -> Offer | None:
        """`number` as an offer, when it is in the stock and is what is wanted."""
        terms = next((each for each in TERMS if each.meet(want)), None)
        area = next((area for area in AREAS if _holds(area, number) and (area.country, area.kind) == _of(want)), None)
        if terms is None or area is None or not _planned(area, number):
            return None
        return _offer(number, terms)

    def _number(self, area: Area, start: str) -> str:
        """A number of `area` whose digits begin with `start`; without its length, when `start` is all of it."""
        free = len(area.prefix) + area.free - len(start)
        rest = "".join(str(self._random.randrange(10)) for _ in range(free))
        if len(start) == len(area.prefix) and rest:
            rest = str(self._random.randrange(area.first, 10)) + rest[1:]
        return _written(area, start + rest)


def _of(want: Want) -> tuple[str, SenderKind]:
    return want.country, want.kind


def _within(area: Area, want: Want) -> Iterator[tuple[Area, str]]:
    """The parts of `area` that are wanted, as their leading digits."""
    if (area.country, area.kind) != _of(want) or want.area_code not in (None, area.code):
        return
    for prefix in want.prefixes or (area.prefix,):
        if area.prefix.startswith(prefix):
            yield area, area.prefix
        elif prefix.startswith(area.prefix) and _holds(area, _written(area, _filled(area, prefix))):
            yield area, prefix


def _filled(area: Area, start: str) -> str:
    return start.ljust(len(area.prefix) + area.free, "0")


def _holds(area: Area, number: str) -> bool:
    digits = number.removeprefix("+")
    rest = digits.removeprefix(area.prefix)
    return (
        digits.startswith(area.prefix)
        and number == _written(area, digits)
        and len(rest) == area.free
        and rest.isascii()
        and rest.isdigit()
        and int(rest[0]) >= area.first
    )


def _written(area: Area, digits: str) -> str:
    return digits if area.kind is SenderKind.SHORT_CODE else f"+{digits}"


def _planned(area: Area, number: str) -> bool:
    """Whether the country's numbering plan knows such numbers, as numbers of this kind."""
    if area.kind is SenderKind.SHORT_CODE:
        return True
    import phonenumbers  # its tables are only needed when numbers are sold

    kinds = phonenumbers.PhoneNumberType
    allowed = {
        SenderKind.TOLL_FREE: (kinds.TOLL_FREE,),
        SenderKind.MOBILE: (kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE),
        SenderKind.GEOGRAPHIC: (kinds.FIXED_LINE, kinds.FIXED_LINE_OR_MOBILE),
    }
    return phonenumbers.number_type(phonenumbers.parse(number)) in allowed[area.kind]


def _offer(number: str, terms: Terms) -> Offer:
    return Offer(number, terms, terms.sms, terms.calling, terms.country in NOT_TO_BE_RESOLD)
