"""JSON shapes of the number inventory on the admin API; the capabilities are ACS's own shape."""

from msgspec import field

from landline.wire.base import Wire


class PhoneNumberCapabilities(Wire):
    """Each `none`, `inbound`, `outbound` or `inbound+outbound`."""

    calling: str | None = None
    sms: str | None = None


class CapabilitiesToSet(PhoneNumberCapabilities, forbid_unknown_fields=True):
    """Of the admin API, which refuses what is misspelt."""


class NumberToAdd(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/numbers`; what is absent is as the number's kind usually has it."""

    number: str
    kind: str | None = None
    capabilities: CapabilitiesToSet | None = None
    carrier: str | None = None


class Number(Wire):
    """A sender in a resource's inventory."""

    number: str
    kind: str
    capabilities: PhoneNumberCapabilities
    carrier: str | None = None


class NumberRange(Wire, forbid_unknown_fields=True):
    """Body of `POST /numbers/stock:addRange`; `values` are those of a CSV line, by column."""

    first: str
    last: str
    values: dict[str, str] = field(default_factory=dict[str, str])


class Imported(Wire, omit_defaults=False):
    """What came of an import: numbers that were not for sale yet, and that were."""

    added: int
    known: int


class StockNumber(Wire, kw_only=True):
    """A real number for sale, or sold. `status` is `free`, `held` or `owned`."""

    number: str
    country: str
    kind: str
    assignments: list[str]
    capabilities: PhoneNumberCapabilities
    cost: float
    currency: str
    not_resell: bool
    status: str
    area_code: str | None = None
    locality: str | None = None
    division: str | None = None
    carrier: str | None = None
    owner: str | None = None
    """The resource's name."""


class Stock(Wire):
    """A page of numbers for sale; the next one is asked for with `?after=`."""

    value: list[StockNumber]
    next_after: str | None = None
