"""Which senders may be owned, and as what: kinds by form, capabilities by kind (acs-wire.md 4.5)."""

from dataclasses import dataclass
from enum import Enum

from landline.core import phone
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind


class Directions(Enum):
    """Which ways a number serves a medium; ACS's PhoneNumberCapabilityType."""

    NONE = "none"
    INBOUND = "inbound"
    OUTBOUND = "outbound"
    BOTH = "inbound+outbound"

    @classmethod
    def of(cls, *, inbound: bool, outbound: bool) -> "Directions":
        if inbound:
            return cls.BOTH if outbound else cls.INBOUND
        return cls.OUTBOUND if outbound else cls.NONE

    def covers(self, wanted: "Directions") -> bool:
        """Whether all ways of `wanted` are among these."""
        return (self.inbound or not wanted.inbound) and (self.outbound or not wanted.outbound)

    @property
    def inbound(self) -> bool:
        return self in (Directions.INBOUND, Directions.BOTH)

    @property
    def outbound(self) -> bool:
        return self in (Directions.OUTBOUND, Directions.BOTH)


@dataclass(frozen=True, slots=True)
class OwnedNumber:
    """A sender in a resource's inventory. A `geographic` +1 number with SMS is what ACS calls 10DLC."""

    resource: ResourceId
    number: str
    """E.164, a short code, or an alphanumeric sender name."""
    kind: SenderKind
    sms_inbound: bool
    sms_outbound: bool
    calling_inbound: bool
    calling_outbound: bool
    carrier: str | None
    """The carrier its messages go through; None for the default one."""

    @property
    def sms(self) -> Directions:
        return Directions.of(inbound=self.sms_inbound, outbound=self.sms_outbound)

    @property
    def calling(self) -> Directions:
        return Directions.of(inbound=self.calling_inbound, outbound=self.calling_outbound)


_KINDS_OF_NUMBERS = (SenderKind.TOLL_FREE, SenderKind.GEOGRAPHIC, SenderKind.MOBILE)
DEV_NUMBERS = ("+18005550100", "+14255550100", "55501", "LANDLINE")
"""What `landline dev` gives its resource: toll-free, geographic (10DLC), short code, alphanumeric. The +1 numbers are
of the block kept for fiction (NANPA: 555-0100 to 0199), so that no real phone is meant."""


def owned(
    resource: ResourceId,
    number: str,
    *,
    kind: SenderKind | None,
    sms: Directions | None,
    calling: Directions | None,
    carrier: str | None,
) -> OwnedNumber:
    """`number` as `resource` would own it; what is None is as its kind usually has it. Raises `Invalid`."""
    kind = _kind(number, kind)
    sms = sms or (Directions.OUTBOUND if kind is SenderKind.ALPHANUMERIC else Directions.BOTH)
    calling = calling or Directions.NONE
    if kind is SenderKind.ALPHANUMERIC and sms.inbound:
        raise Invalid("An alphanumeric sender cannot receive.", target="capabilities.sms")
    if kind in (SenderKind.ALPHANUMERIC, SenderKind.SHORT_CODE) and calling is not Directions.NONE:
        raise Invalid(f"A sender of kind {kind.value} cannot call or be called.", target="capabilities.calling")
    if carrier is not None and not carrier:
        raise Invalid("A carrier's name is not empty.", target="carrier")
    ways = (sms.inbound, sms.outbound, calling.inbound, calling.outbound)
    return OwnedNumber(resource, number, kind, *ways, carrier)


def _kind(number: str, wanted: SenderKind | None) -> SenderKind:
    by_form = phone.sender_kind(number)
    if by_form is None:
        raise Invalid(
            "A sender is an E.164 number (+14255550100), a short code of 5 or 6 digits, or a name of at most 11 "
            "characters (letters, digits, space, + - _ &) with a letter in it.",
            target="number",
        )
    if by_form in _KINDS_OF_NUMBERS:
        by_form = _kind_by_plan(number, by_form)
    if wanted is None or wanted is by_form:
        return by_form
    free = by_form in _KINDS_OF_NUMBERS and wanted in _KINDS_OF_NUMBERS and not number.startswith("+1")
    if not free:  # outside North America numbering plans tell less than their operators do
        raise Invalid(f"The sender is of kind {by_form.value} by its form, not {wanted.value}.", target="kind")
    return wanted


def _kind_by_plan(number: str, by_form: SenderKind) -> SenderKind:
    """What the numbering plans say. A number that is possible but in no known range passes: test numbers are such."""
    import phonenumbers  # its tables are only needed when a number is added

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise Invalid("No country has such phone numbers.", target="number") from None
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    if reason in (phonenumbers.ValidationResult.TOO_SHORT, phonenumbers.ValidationResult.TOO_LONG):
        wrong = "short" if reason == phonenumbers.ValidationResult.TOO_SHORT else "long"
        raise Invalid(f"The phone number is too {wrong} for its country.", target="number")
    found = phonenumbers.number_type(parsed)
    if found == phonenumbers.PhoneNumberType.TOLL_FREE:
        return SenderKind.TOLL_FREE
    return SenderKind.MOBILE if found == phonenumbers.PhoneNumberType.MOBILE else by_form
