"""Customers who speak SMPP, as values: their accounts, the ids of their messages, and what a receipt says of an end."""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from landline.core import ids
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.ports.esme_gateway import Account
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import Alphabet
from landline.services.sms.model import details

ALL_NUMBERS = "*"
LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""What passwords are made of, without those mistaken for one another: 57, so 46.7 bits in 8 of them."""
LENGTH = 8
"""SMPP 3.4 §5.2.2: at most 9 octets with the NUL."""
BINDS_MOST, WINDOW_MOST, RATE_MOST, LIST_MOST = 100, 1000, 100_000.0, 1000

_SYSTEM_ID = re.compile(r"[A-Za-z0-9._@-]{1,15}")
_CUSTOMERS_VERSION = 8


@dataclass(frozen=True, slots=True)
class EsmeAccount:
    """One account: also the stored row."""

    resource: ResourceId
    system_id: str
    generation: int
    enabled: bool
    addresses: tuple[str, ...]
    """Addresses and networks it may bind from; none for any."""
    binds: int
    window: int
    rate_per_s: float | None
    receipts: bool
    """Whether receipts are brought to it at all."""
    texts: tuple[str, ...]
    """The resource's numbers whose texts it gets; `*` for all."""
    created_at: datetime
    alphabet: Alphabet = Alphabet.GSM
    """What data_coding 0 means in its texts."""
    number: int = 0
    """Which account it is of those that had its system id."""

    @property
    def right(self) -> Account:
        """What the listener is told."""
        return Account(
            self.system_id,
            self.resource,
            self.generation,
            self.binds,
            self.window,
            self.rate_per_s,
            self.alphabet,
            self.number,
            self.created_at,
        )

    @property
    def seal(self) -> str:
        """What its password's hash is sealed for."""
        return f"esme:{self.resource}:{self.system_id}"

    def admits(self, address: str) -> bool:
        """Whether it may bind from the IP `address`."""
        if not self.addresses:
            return True
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in _network(network) for network in self.addresses)

    def wants_texts_to(self, number: str) -> bool:
        return number in self.texts or ALL_NUMBERS in self.texts


def checked(account: EsmeAccount) -> EsmeAccount:
    """`account`. Raises `Invalid` when it cannot be."""
    if not _SYSTEM_ID.fullmatch(account.system_id):
        raise Invalid("A system id is 1 to 15 letters, digits and . _ @ - (SMPP 3.4 §5.2.1).", target="systemId")
    for name, value, most in (("binds", account.binds, BINDS_MOST), ("window", account.window, WINDOW_MOST)):
        if not 1 <= value <= most:
            raise Invalid(f"Must be from 1 to {most}.", target=name)
    if account.rate_per_s is not None and not 0 < account.rate_per_s <= RATE_MOST:
        raise Invalid(f"Must be over 0 and at most {RATE_MOST:.0f}.", target="ratePerS")
    for name, listed in (("addresses", account.addresses), ("texts", account.texts)):
        if len(listed) > LIST_MOST:
            raise Invalid(f"At most {LIST_MOST} entries.", target=name)
    for address in account.addresses:
        try:
            _network(address)
        except ValueError as error:
            raise Invalid(f"Not an address or a network: {error}.", target="addresses") from None
    return account


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The address or network `text`. One of IPv4 addresses in IPv6's form (RFC 4291 §2.5.5.2), as sockets for both
    show them and so logs do, is that of these. Raises `ValueError`."""
    network = ipaddress.ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return network if mapped is None else ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))


def password(entropy: bytes) -> str:
    """The password that 16 octets of `entropy` make."""
    assert len(entropy) == 16, "many more bits than letters, so that all letters are as likely"
    number = int.from_bytes(entropy, "big")
    letters: list[str] = []
    for _ in range(LENGTH):
        number, letter = divmod(number, len(LETTERS))
        letters.append(LETTERS[letter])
    return "".join(letters)


def new_ids(at: datetime, count: int, entropy: bytes) -> list[UUID]:
    """`count` ascending ids for messages of SMPP customers from 10 octets of `entropy` each: time-ordered as all are,
    but of version 8 (RFC 9562 §5.8), so that a message tells by its id whether a customer may wait for its receipt."""
    made = ids.many_time_ordered(at, entropy[: 10 * count])
    return sorted(ids.made((each.int & ~(0xF << 76)) | (_CUSTOMERS_VERSION << 76)) for each in made)


def is_customers(message_id: UUID) -> bool:
    """Whether `new_ids` made it."""
    return (message_id.int >> 76) & 0xF == _CUSTOMERS_VERSION


def receipt_state(delivered: bool, code: int, canceled: bool = False) -> MessageState:
    """The message_state (SMPP 3.4 §5.2.28) that says an ended message's detail code: the inverse of how
    `protocols.smpp.status` reads the states of carriers, as far as there is one."""
    if canceled:
        return MessageState.DELETED
    return MessageState.DELIVERED if delivered else _STATES.get(code, MessageState.UNDELIVERABLE)


_STATES = {
    **dict.fromkeys((4000, 4001, 4002, 4003, 4005, details.OPTED_OUT, 4008, 4009, 4010), MessageState.REJECTED),
    details.TEMPORARILY_UNAVAILABLE: MessageState.EXPIRED,
    details.NO_REPORT: MessageState.UNKNOWN,
    details.UNKNOWN: MessageState.UNKNOWN,
}


def unsubmitted_code(state: MessageState) -> int:
    """The detail code of a text that came to nothing in that state before it was a message."""
    return details.TEMPORARILY_UNAVAILABLE if state is MessageState.EXPIRED else details.CANCELED


def receipt_error(delivered: bool, code: int) -> int:
    """`err` of a receipt: three digits (SMPP 3.4 Appendix B), so the detail code without its second digit, which is 0
    but for 9999: 4007 is 407."""
    return 0 if delivered else code // 1000 * 100 + code % 100


def put_off(attempts: int) -> timedelta:
    """How long what a customer did not take is left before it is brought again."""
    return timedelta(seconds=min(2.0 * 2 ** min(attempts, 10), 300.0))
