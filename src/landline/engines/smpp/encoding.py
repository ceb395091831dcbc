"""Submissions as submit_sm bodies, encoded once before they are queued: addresses, options, the parts of long texts."""

from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits

from landline.core import phone
from landline.core.phone import SenderKind
from landline.engines.smpp.config import SmppConfig
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import Npi, Ton
from landline.protocols.smpp.pdu import ShortMessage, SubmitTemplate

_Key = tuple[str, bool, int, int]
_E164_LEAST = 7
LONGEST = 64
"""Characters of an address (SMPP 3.4 §4.7.1). One with more can be no key in the database, and its text
would be brought again for ever."""


class Encoder:
    """Encodes for one carrier. Templates are kept per sender, as one sender's messages differ only in their end."""

    def __init__(self, config: SmppConfig) -> None:
        self._config = config
        self._validity = "" if config.validity_s is None else relative_time(config.validity_s)
        # Processes, and what was before a restart, are to differ: a phone joins parts by it.
        self._reference = getrandbits(16)
        self._template = lru_cache(maxsize=1024)(self._make_template)
        self._shape: object = None
        self._single: tuple[SubmitTemplate, bytes] | None = None
        """Template and text of the last message, if it was a single short one; `_shape` is what they are made of."""

    def bodies(self, submission: Submission) -> list[bytes]:
        """The submit_sm bodies of `submission`, in order. Raises `LocalProtocolError` when SMPP cannot carry it."""
        config = self._config
        recipient = submission.recipient if config.plus_sign else submission.recipient.removeprefix("+")
        shape = (submission.text, submission.sender, submission.report_wanted, submission.valid_until)
        if self._single is not None and shape == self._shape:  # a campaign: the recipient alone is another
            template, text = self._single
            return [template.body(recipient, text)]
        self._reference = (self._reference + 1) & 0xFFFF
        parts = texts.write(submission.text, config.long_style, config.alphabet, self._reference)
        validity = self._validity if submission.valid_until is None else absolute_time(submission.valid_until)
        templates = [
            self._template(submission.sender, submission.report_wanted, part.esm_class, part.data_coding, validity)
            for part in parts
        ]
        self._shape = shape
        self._single = None if len(parts) > 1 or parts[0].tlvs else (templates[0], parts[0].short_message)
        return [
            template.body(recipient, part.short_message, part.tlvs)
            for template, part in zip(templates, parts, strict=True)
        ]

    def source(self, sender: str) -> tuple[int, int, str]:
        """TON, NPI and address of a sender."""
        ton, npi, address = address_of(sender, plus_sign=self._config.plus_sign)
        config = self._config
        return (
            ton if config.source_ton is None else config.source_ton,
            npi if config.source_npi is None else config.source_npi,
            address,
        )

    def _make_template(
        self, sender: str, report: bool, esm_class: int, data_coding: int, validity: str
    ) -> SubmitTemplate:
        ton, npi, address = self.source(sender)
        return SubmitTemplate(
            ShortMessage(
                service_type=self._config.service_type,
                source_addr_ton=ton,
                source_addr_npi=npi,
                source_addr=address,
                dest_addr_ton=self._config.destination_ton,
                dest_addr_npi=self._config.destination_npi,
                esm_class=esm_class | self._config.esm_class,
                protocol_id=self._config.protocol_id,
                priority_flag=self._config.priority_flag,
                validity_period=validity,
                registered_delivery=self._config.registered_delivery if report else 0,
                data_coding=data_coding,
            )
        )


def address_of(number: str, *, plus_sign: bool = False) -> tuple[int, int, str]:
    """TON, NPI and address of a number by its kind (SMPP 3.4 §5.2.5, §5.2.6; short codes as is usual)."""
    kind = phone.sender_kind(number)
    if kind is SenderKind.ALPHANUMERIC:
        return Ton.ALPHANUMERIC, Npi.UNKNOWN, number
    if kind is SenderKind.SHORT_CODE:
        return Ton.NETWORK_SPECIFIC, Npi.UNKNOWN, number
    if number.startswith("+"):
        return Ton.INTERNATIONAL, Npi.ISDN, number if plus_sign else number[1:]
    return Ton.UNKNOWN, Npi.UNKNOWN, number


def number_of(ton: int, address: str, country: str | None = None) -> str:
    """The number that an address of a deliver_sm is: international ones get their `+` (E.164), and national ones, which
    those with their trunk prefix are, their calling code, where their `country` is given."""
    if ton in (Ton.INTERNATIONAL, Ton.UNKNOWN) and address.startswith("00") and address.isdigit() and len(address) > 9:
        return "+" + address[2:]  # E.164 knows no country code that begins with 0
    # Some SMSCs call all they send international, short codes and numbers as at home as well.
    if ton == Ton.INTERNATIONAL and address.isdigit() and len(address) >= _E164_LEAST and not address.startswith("0"):
        return "+" + address
    # SMSCs that leave the TON unknown still send full international numbers, which are longer than short codes.
    if ton == Ton.UNKNOWN and address.isdigit() and len(address) >= 10 and not address.startswith("0"):
        return "+" + address
    if country is not None and ton in (Ton.INTERNATIONAL, Ton.NATIONAL, Ton.UNKNOWN) and address.isdigit():
        return _national(address, country) if ton == Ton.NATIONAL or address.startswith("0") else address
    return address


@lru_cache(10_000)
def _national(address: str, country: str) -> str:
    """The international number of `address` in `country`; `address` itself where it is none, as short codes are."""
    import phonenumbers  # its tables are only needed where a carrier sends such numbers

    try:
        parsed = phonenumbers.parse(address, country)
    except phonenumbers.NumberParseException:
        return address
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return address
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def absolute_time(at: datetime) -> str:
    """An absolute SMPP time in UTC (§7.1.1): YYMMDDhhmmsstnnp, a tenth of a second and an offset of 0 quarter hours."""
    return at.astimezone(UTC).strftime("%y%m%d%H%M%S000+")


def relative_time(seconds: float) -> str:
    """A relative SMPP time (§7.1.1): YYMMDDhhmmss000R, with days that carry the whole span (up to 99)."""
    days, rest = divmod(min(int(seconds), 99 * 86400), 86400)
    return f"0000{days:02}{rest // 3600:02}{rest % 3600 // 60:02}{rest % 60:02}000R"
