"""A resource's SMS settings: one JSON document, what a resource leaves out coming from the product's own defaults."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeGuard, cast

import msgspec
from msgspec import Meta, Struct

from landline.core import money
from landline.core.errors import Invalid

EVERY_COUNTRY = "*"
NO_COUNTRY = "ZZ"
"""What numbers have whose calling code is no country's: satellites, global services (CLDR's unknown region)."""
_DEEPEST = 4
"""Levels of the document, and one more so that the decoder says what is wrong below them."""

Rate = Annotated[int, Meta(ge=1, le=100_000)]
Tag = Annotated[str, Meta(max_length=2048)]
"""As long as a request to send may have it."""
Partner = Annotated[str, Meta(min_length=1, max_length=64)]
"""Likewise."""
Cap = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
_MOST_SPENT = 1_000_000_000_000 * money.ONE


class _Part(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Unknown fields are refused: a limit misspelled would protect nobody."""


class Caps(_Part, frozen=True, kw_only=True):
    """How much a resource may send, and what that may cost, by days and months of UTC. None is no cap."""

    per_day: Cap | None = None
    per_month: Cap | None = None
    unit: Literal["messages", "segments"] = "messages"
    spend_per_day: Decimal | None = None
    """In the deployment's currency; see `checked_caps`."""
    spend_per_month: Decimal | None = None

    @property
    def limits_spend(self) -> bool:
        """Whether there is a cap on what is spent."""
        return self.spend_per_day is not None or self.spend_per_month is not None


class Rates(_Part, frozen=True, kw_only=True):
    """Messages within the last minute, hour and day, wherever those begin."""

    minute: Rate
    hour: Rate
    day: Rate


class Velocity(_Part, frozen=True, kw_only=True):
    """How fast a resource may send to one recipient, and to all numbers that begin with the same digits."""

    enabled: bool
    prefix_digits: Annotated[int, Meta(ge=3, le=12)] = 8
    """Eight are an exchange's block of a thousand numbers in North America, the first 4 to 6 of the subscriber's
    own digits in most of Europe."""
    per_prefix: Rates = Rates(minute=60, hour=300, day=1_000)
    per_recipient: Rates = Rates(minute=5, hour=20, day=50)


class Sequential(_Part, frozen=True, kw_only=True):
    """How many numbers in a row may be sent to within the window, in whatever order: one fewer than `run`."""

    enabled: bool
    run: Annotated[int, Meta(ge=3, le=100)] = 10
    window_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 3_600


class SmsSettings(_Part, frozen=True, kw_only=True):
    """What is in force for a resource. The shape is the admin API's own."""

    allowed_countries: tuple[str, ...]
    """ISO 3166-1 codes, `ZZ`, or `*` for every one. Without any, no text goes anywhere."""
    caps: Caps = Caps()
    velocity: Velocity
    sequential: Sequential
    smart_encoding: bool = False
    failover_on_receipt: bool = False
    default_validity_seconds: Annotated[int, Meta(ge=60, le=259_200)] | None = None
    acs_limits: bool = False
    halted_tags: Annotated[dict[Tag, bool], Meta(max_length=1_000)] = {}
    """Campaigns of which no text goes out for now. One that is not halted may also be written as false."""
    messaging_connect_partners: Annotated[tuple[Partner, ...], Meta(max_length=100)] = ("*",)
    """Azure's partners that applications may name beside this server's carriers; `*` for whatever they are used to."""

    def halts(self, tag: str | None) -> bool:
        """Whether texts with `tag` are not sent."""
        return tag is not None and self.halted_tags.get(tag, False)


def _exact(number: str) -> Decimal:
    try:
        return Decimal(number)
    except InvalidOperation:  # of exponents that not even decimals have
        raise msgspec.ValidationError("Number out of range") from None


Document = dict[str, Any]
"""What a resource has set itself: parts of an `SmsSettings` in JSON, without nulls."""
DOCUMENT = msgspec.json.Decoder(Document, float_hook=_exact)
"""Amounts of money stay as they were written."""
ENCODER = msgspec.json.Encoder(decimal_format="number")
"""Of documents: what `DOCUMENT` decoded, unchanged."""
DECODER = msgspec.json.Decoder(SmsSettings)


def defaults(*, guarded: bool, countries: tuple[str, ...], acs_limits: bool = False) -> SmsSettings:
    """The product's own settings. `guarded` switches velocity and sequential detection on. Raises `Invalid`."""
    return SmsSettings(
        allowed_countries=checked_countries(countries),
        velocity=Velocity(enabled=guarded),
        sequential=Sequential(enabled=guarded),
        acs_limits=acs_limits,
    )


def merged(target: Document, patch: Document, *, depth: int = 0) -> Document:
    """`target` with `patch` applied as a JSON merge patch (RFC 7396 §2): null removes. Raises `Invalid`."""
    if depth > _DEEPEST:
        raise Invalid("No setting has objects nested that deeply.", target="body")
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            inner = cast(Document, below) if isinstance(below, dict) else {}
            result[key] = merged(inner, cast(Document, value), depth=depth + 1)
        else:
            result[key] = value
    return result


def known(document: Document, shape: type[Struct] = SmsSettings) -> Document:
    """`document` without the fields that this version does not know."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    return {
        name: known(cast(Document, value), fields[name])
        if isinstance(value, dict) and _is_part(fields[name])
        else value
        for name, value in document.items()
        if name in fields
    }


def _is_part(given: Any) -> TypeGuard[type[_Part]]:
    return isinstance(given, type) and issubclass(given, _Part)


def checked_caps(caps: Caps) -> Caps:
    """`caps`, amounts of money without needless digits. Raises `Invalid` for what is none."""
    return msgspec.structs.replace(
        caps,
        spend_per_day=_checked_spend(caps.spend_per_day, "caps.spendPerDay"),
        spend_per_month=_checked_spend(caps.spend_per_month, "caps.spendPerMonth"),
    )


def _checked_spend(amount: Decimal | None, target: str) -> Decimal | None:
    if amount is None:
        return None
    found = money.micros(amount)
    if not found or found > _MOST_SPENT:
        raise Invalid(
            f"Must be from 0.000001 to {money.text(_MOST_SPENT)} with at most {money.PLACES} decimals, such as 12.50.",
            target=target,
        )
    return Decimal(money.text(found))


def checked_countries(codes: tuple[str, ...]) -> tuple[str, ...]:
    """`codes` in capitals and in order, each once. Raises `Invalid` for what is no country's code."""
    from phonenumbers import SUPPORTED_REGIONS  # the tables behind it are large, and most starts need none

    found = {code.upper() for code in codes}
    wrong = sorted(found - SUPPORTED_REGIONS - {NO_COUNTRY, EVERY_COUNTRY})
    if wrong:
        raise Invalid(
            f"Not a country with phone numbers: {', '.join(wrong)}. Give ISO 3166-1 codes such as US, "
            f'"{NO_COUNTRY}" for numbers of no country, or "{EVERY_COUNTRY}" for all.',
            target="allowedCountries",
        )
    return (EVERY_COUNTRY,) if EVERY_COUNTRY in found else tuple(sorted(found))
