"""Who operates a phone number: asked of the numbering plans, or of a provider that knows ported numbers."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from landline.core.phone import Phone


class LineType(Enum):
    """What kind of line a number is; ACS's OperatorNumberType."""

    UNKNOWN = "unknown"
    OTHER = "other"
    GEOGRAPHIC = "geographic"
    MOBILE = "mobile"


@dataclass(frozen=True, slots=True)
class NumberOperator:
    """What is known of a number; None is not known."""

    line_type: LineType = LineType.UNKNOWN
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    name: str | None = None
    """The operator's name."""
    mobile_country_code: str | None = None
    mobile_network_code: str | None = None
    """ITU-T E.212: three digits, and two or three."""


class OperatorLookup(Protocol):
    """Knows the operators of numbers."""

    async def look_up(self, number: Phone) -> NumberOperator:
        """What is known of `number`; nothing known is an answer too. Asking twice may cost twice and changes nothing.
        Raises `Unavailable` when the source cannot be asked now; callers give up after their own timeout."""
        ...
