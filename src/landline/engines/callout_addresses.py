"""Which addresses a callout may go to: the pure half of `engines.callout`, against server-side request forgery.

What counts is the address that is connected to, whatever form it was written in: RFC 6890 registries, and the IPv4
address inside an IPv6 one (RFC 4291 §2.5.5, RFC 3056, RFC 4380, RFC 6052).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from landline.core.errors import Invalid
from landline.engines import callout_url
from landline.engines.callout_url import Endpoint

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix of NAT64: as good or bad as the IPv4 address in it (RFC 6052 §2.1)."""
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_V4_COMPATIBLE = IPv6Network("::/96")
_NOT_GLOBAL = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments, one of them a cloud provider's metadata (RFC 6890 §2.2.2)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, deprecated (RFC 7526)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv6Network("5f00::/16"),  # SRv6 segment ids (RFC 9602)
)
"""What the registries call not globally reachable and Python 3.11 does not."""
_METADATA = frozenset({IPv4Address("168.63.129.16")})
"""Cloud providers' own services at addresses that are public by their range; the others are link-local or private."""
_ENDS_IN_A_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Policy:
    """Where callouts may go. `allowed_hosts`: names (or literal addresses) that may be anything, also without TLS;
    `allowed_networks`: addresses that names may resolve to; `loopback_open`: this machine may be called without TLS
    (`dev` only)."""

    allowed_hosts: frozenset[str] = frozenset()
    allowed_networks: tuple[Network, ...] = ()
    loopback_open: bool = False

    def allows_by_name(self, host: str) -> bool:
        """Whether the operator named this host."""
        return host.lower().rstrip(".") in self.allowed_hosts

    def refuses(self, address: Address) -> bool:
        """Whether a connection to `address` is refused to a host that is not allowed by name."""
        if self.loopback_open and is_loopback(address):
            return False
        if any(address in network for network in self.allowed_networks):
            return False
        return is_internal(address)


def is_loopback(address: Address) -> bool:
    """Whether `address` is this machine, also as an IPv4 address in IPv6 clothing."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def is_internal(address: Address) -> bool:
    """Whether `address` is anything but a public unicast address, or carries an IPv4 address that is."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return is_internal(_last_32_bits(address))
    if not address.is_global or address.is_multicast or address.is_reserved or address in _METADATA:
        return True
    if any(address in network for network in _NOT_GLOBAL):
        return True
    if isinstance(address, IPv4Address):
        return False
    return address.is_site_local or address in _NAT64_LOCAL or any(is_internal(inner) for inner in _embedded(address))


def check_url(url: str, policy: Policy) -> Endpoint:
    """The endpoint `url` names. Raises `Invalid` when it can never be called."""
    try:
        endpoint = callout_url.parse(url)
    except ValueError as error:
        raise Invalid(f"The URL is not valid: {error}.", target="endpoint") from None
    host = endpoint.host
    if policy.allows_by_name(host):
        return endpoint
    address = _literal(host)
    if address is not None and policy.refuses(address):
        raise Invalid(
            f"The address {host} is not public. The setting webhook_allow allows it, if it is meant.",
            target="endpoint",
        )
    if endpoint.scheme == "http" and not (policy.loopback_open and _names_this_machine(host, address)):
        raise Invalid("The URL must have the scheme https.", target="endpoint")
    return endpoint


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        # What ends in a number is an address in another form to a resolver: 0x7f.1, 2130706433 (WHATWG URL 3.5).
        if _ENDS_IN_A_NUMBER.search(host):
            raise Invalid(f"The host {host} is neither a name nor an address.", target="endpoint") from None
        return None


def _names_this_machine(host: str, address: Address | None) -> bool:
    if address is not None:
        return is_loopback(address)
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")  # RFC 6761 §6.3


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    isatap = (int(address) >> 32) & 0xFFFF == 0x5EFE  # RFC 5214 §6.1
    if isatap or address in _V4_COMPATIBLE:
        found.append(_last_32_bits(address))
    return [inner for inner in found if inner is not None]


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)
