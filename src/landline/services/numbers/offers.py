"""Numbers for sale as values: what is wanted, what is on offer, and whether the one meets the other. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum

from landline.core.errors import Invalid
from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions


class InvalidInput(Invalid):
    """A value of a request to the phone numbers service (the code is the one Azure's recorded answers carry)."""

    code = "InvalidInput"


class Assignment(Enum):
    """Who a number is for; ACS's PhoneNumberAssignmentType."""

    PERSON = "person"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one number costs a month."""

    amount: Decimal
    currency: str = "USD"


FREE = Cost(Decimal(0))
"""Of numbers that an operator gave by hand."""

NOT_TO_BE_RESOLD = frozenset({"AU", "FR"})
"""Countries whose numbers are only sold to who agrees not to resell them (ACS: sub-eligibility by country)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an area code belongs: a town, and the state or province by name and abbreviation."""

    locality: str
    division: str | None = None
    abbreviation: str | None = None

    def is_in(self, division: str | None, locality: str | None = None) -> bool:
        """Whether it is in `division` (name or abbreviation) and is `locality`, whatever the case; None is any."""
        names = [name.casefold() for name in (self.division, self.abbreviation) if name]
        return (division is None or division.casefold() in names) and (
            locality is None or locality.casefold() == self.locality.casefold()
        )


@dataclass(frozen=True, slots=True)
class Want:
    """What someone is looking for; None is anything. Prefixes are digits with the country's calling code."""

    country: str
    kind: SenderKind
    assignment: Assignment | None = None
    sms: Directions = Directions.NONE
    calling: Directions = Directions.NONE
    area_code: str | None = None
    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is SenderKind.TOLL_FREE and self.assignment is Assignment.PERSON:
            # ACS: toll-free numbers are for applications; its own SDK tests expect 400 here.
            raise InvalidInput("Toll-free numbers are for applications, not persons.", target="assignmentType")
        if not all(prefix.isascii() and prefix.isdigit() and len(prefix) <= 15 for prefix in self.prefixes):
            raise InvalidInput("A prefix is 1 to 15 digits, behind a + or not.", target="phoneNumberPrefixes")
        if self.area_code is not None and not (self.area_code.isascii() and self.area_code.isdigit()):
            raise InvalidInput("An area code is digits.", target="areaCode")


@dataclass(frozen=True, slots=True)
class Terms:
    """What numbers of one country, kind and assignment can do, and cost."""

    country: str
    kind: SenderKind
    assignment: Assignment
    sms: Directions
    calling: Directions
    cost: Cost

    def meet(self, want: Want) -> bool:
        """Whether such numbers are what is wanted, areas and prefixes apart."""
        return (
            (self.country, self.kind) == (want.country, want.kind)
            and want.assignment in (None, self.assignment)
            and self.sms.covers(want.sms)
            and self.calling.covers(want.calling)
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """One number for sale. `sms` and `calling` are what the buyer asks for, within what `terms` offer."""

    number: str
    terms: Terms
    sms: Directions
    calling: Directions
    not_resell: bool
    carrier: str | None = None

    def asking(self, sms: Directions, calling: Directions) -> "Offer":
        """The same number with the capabilities the buyer wants. Raises `InvalidInput` when it has them not."""
        if not (self.terms.sms.covers(sms) and self.terms.calling.covers(calling)):
            raise InvalidInput("The number does not have these capabilities.", target="capabilities")
        return replace(self, sms=sms, calling=calling)


def digits(number: str) -> str:
    """A number's id: its digits (`14255550100`)."""
    return number.removeprefix("+")


def number_of(identifier: str) -> str:
    """The number that an id or a path names: `14255550100` and `+14255550100` are one; a short code is its own id. The
    plus may be encoded (the SDKs' word for update and release), which they then encode once more."""
    if identifier[:3].upper() == "%2B":
        identifier = identifier[3:]
    if identifier.isascii() and identifier.isdigit() and len(identifier) > 6:
        return f"+{identifier}"
    return identifier


def highest(offers: Sequence[Offer]) -> Cost:
    """The highest cost among `offers`: what a search says one number costs at most."""
    return max((offer.terms.cost for offer in offers), key=lambda cost: cost.amount, default=FREE)
