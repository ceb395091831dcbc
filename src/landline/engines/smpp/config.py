"""What an operator sets for one SMPP carrier."""

import ssl
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address

from landline.core.errors import Invalid
from landline.core.pass_phrase import nobody_says_it
from landline.engines.trust import CONTEXTS_KEPT, stamps, trusting
from landline.ports.sms_carrier import CrashPolicy
from landline.protocols.smpp.commands import INTERFACE_VERSION
from landline.protocols.smpp.texts import Alphabet, LongStyle


class Binding(Enum):
    """Which binds one connection to the carrier consists of."""

    TRANSCEIVER = "transceiver"
    PAIR = "pair"
    """A transmitter and a receiver, for carriers without transceivers."""


class MessageIds(Enum):
    """How the message ids of a carrier's receipts relate to those of its responses."""

    AS_IS = "as-is"
    DEC_HEX = "dec-hex"
    """Responses in hexadecimal, receipts in decimal."""
    HEX_DEC = "hex-dec"
    """Responses in decimal, receipts in hexadecimal."""
    DEC = "dec"
    """Decimal in both, with more or fewer zeros in front."""
    HEX = "hex"
    """Hexadecimal in both; neither case nor zeros in front need be the same."""

    @property
    def response_hexadecimal(self) -> bool:
        return self in (MessageIds.DEC_HEX, MessageIds.HEX)

    @property
    def receipt_hexadecimal(self) -> bool:
        return self in (MessageIds.HEX_DEC, MessageIds.HEX)


class LongReceipts(Enum):
    """What receipts a long message has whose parts have ids of their own."""

    EACH = "each"
    ONE = "one"
    """One for all its parts, by the id of whichever."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards a carrier. Without a CA file the system's roots count; certificate and key are for mutual TLS."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    """The name the carrier's certificate must bear; the host when None."""

    def context(self) -> ssl.SSLContext:
        """Of what the files hold now. Raises `Invalid` when one cannot be read."""
        if self.key_file is not None and self.certificate_file is None:
            raise Invalid("key_file is the key of a certificate_file, and there is none", target="tls")
        return _context(self, stamps(self.ca_file, self.certificate_file, self.key_file))


@lru_cache(CONTEXTS_KEPT)
def _context(tls: Tls, _stamps: object) -> ssl.SSLContext:
    file = tls.ca_file
    try:
        context = trusting(tls.ca_file)
        file = tls.certificate_file if tls.key_file is None else f"{tls.certificate_file}, {tls.key_file}"
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=nobody_says_it)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or str(error)
        if "PEM lib" in why:  # all that OpenSSL says where a key is missing, or is none
            needed = "its private key" if tls.key_file is not None else "the key too, without a key_file"
            why = f"it is to be a certificate in PEM, and {needed}"
        raise Invalid(f"cannot use {file}: {why}", target="tls") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


SYSTEM_ID_MOST, PASSWORD_MOST = 15, 8
"""SMPP 3.4 §5.2.1 and §5.2.2. There are SMSCs that give longer ones, and take them."""
_SIZES = {"system_id": 64, "password": 64, "system_type": 12, "address_range": 40, "service_type": 5}


@dataclass(frozen=True, slots=True)
class SmppConfig:
    """One carrier. Durations in seconds; raises `Invalid` for what cannot work."""

    name: str
    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    """What we say we speak (§5.2.4)."""
    bind_ton: int = 0
    bind_npi: int = 0
    address_range: str = ""
    """Whose texts the bind is for (§5.2.7), with `bind_ton` and `bind_npi`; most SMSCs know that without it."""
    binding: Binding = Binding.TRANSCEIVER
    receiver_port: int | None = None
    """Where the receivers of pairs bind, if not at `port`."""
    binds: int = 1
    """How many transceivers or pairs."""
    tls: Tls | None = None
    window: int = 50
    """Requests unanswered on each bind."""
    enquire_link_s: float = 30.0
    response_s: float = 60.0
    """For submit_sm. A congested SMSC takes long; what is given up too soon is sent twice, or ends as unknown."""
    connect_s: float = 10.0
    backoff_first_s: float = 1.0
    backoff_limit_s: float = 60.0
    source_ton: int | None = None
    """None for what suits the kind of sender; likewise `source_npi`."""
    source_npi: int | None = None
    destination_ton: int = 1
    destination_npi: int = 1
    plus_sign: bool = False
    """Whether international numbers are sent with their `+`."""
    country: str | None = None
    """Whose national numbers those are that the carrier sends so (ISO 3166-1 alpha-2); None leaves them as they are."""
    service_type: str = ""
    esm_class: int = 0
    """The messaging mode (bits 1-0, §5.2.12): 0 is the SMSC's own, which need not be to store and forward (3)."""
    protocol_id: int = 0
    priority_flag: int = 0
    alphabet: Alphabet = Alphabet.GSM
    """How texts are sent where they can be; the rest goes as UCS-2."""
    default_alphabet: Alphabet = Alphabet.GSM
    """What data_coding 0 means in texts that arrive."""
    registered_delivery: int = 1
    """For messages whose report is wanted (§5.2.17)."""
    validity_s: float | None = None
    """validity_period, relative; None leaves it to the carrier."""
    long_style: LongStyle = LongStyle.UDH8
    message_ids: MessageIds = MessageIds.AS_IS
    long_receipts: LongReceipts = LongReceipts.EACH
    unmarked_receipts: bool = False
    """Whether texts that are written as receipts are receipts though their esm_class does not say so."""
    rate_per_s: float | None = None
    """At most so many submit_sm a second on each bind; None for no limit."""
    throttle_pause_s: float = 1.0
    throttle_patience_s: float = 60.0
    """After this long of throttling a message is given back as refused for now."""
    join_patience_s: float = 3600.0
    """How long the missing parts of a text are waited for before it is passed on without them."""
    receipt_utc_offset_minutes: int | None = None
    """The zone of the receipts' `done date`; None takes the instant a receipt arrives instead."""
    error_codes: dict[str, int] = field(default_factory=dict[str, int])
    """ACS detail codes for the carrier's own `err:` values in receipts of failure."""
    crash_policy: CrashPolicy = CrashPolicy.RESEND
    trace: bool = False
    """Log every PDU's header (never a body)."""

    @property
    def control_s(self) -> float:
        """How long binds, enquire_link, query_sm and unbind may take: an SMSC that is there answers those at once."""
        return min(self.response_s, 10.0)

    def __post_init__(self) -> None:
        for name, lowest in (("binds", 1), ("window", 1), ("port", 1)):
            if getattr(self, name) < lowest:
                raise Invalid(f"{name} must be at least {lowest}", target=name)
        if not _is_host(self.host):
            raise Invalid("host is a name or an address alone: without brackets, the port is `port`", target="host")
        for name, size in _SIZES.items():
            value: str = getattr(self, name)
            if len(value) > size or not value.isascii():
                raise Invalid(f"{name} has at most {size} ASCII characters", target=name)
        if not 0 <= self.esm_class <= 3:
            raise Invalid(
                "esm_class is the messaging mode, 0 to 3: what else it says is each text's own", target="esm_class"
            )
        if self.receiver_port is not None and self.binding is not Binding.PAIR:
            raise Invalid('receiver_port is for binding = "pair"', target="receiver_port")
        if self.country is not None and self.country not in _countries():
            raise Invalid("country must be a country's two capital letters, as US", target="country")
        for name in ("response_s", "enquire_link_s", "connect_s", "backoff_first_s", "throttle_pause_s"):
            if not getattr(self, name) > 0:
                raise Invalid(f"{name} must be positive", target=name)


def _is_host(text: str) -> bool:
    """A colon is in no name, and brackets are in no address."""
    if ":" not in text:
        return "[" not in text
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _countries() -> set[str]:
    from phonenumbers import SUPPORTED_REGIONS  # the tables behind it are large, and most carriers need none

    return SUPPORTED_REGIONS
