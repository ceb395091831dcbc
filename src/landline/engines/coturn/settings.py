"""What coturn is told: its configuration file, and above all whom it may not relay to (capabilities.md, TURN)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        # IANA's special-purpose registries (RFC 6890): nothing of the public Internet is in these. A relay that reached
        # them would be a way into the network it stands in.
        "0.0.0.0/8",  # "this host", by which a check of 127.0.0.0/8 alone was passed (CVE-2020-26262)
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # nothing, loopback, and IPv4 as it was once written
        "::ffff:0:0/96",  # IPv4 in IPv6's clothes, as in the next two
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""Peers refused unless they are explicitly allowed."""
_METADATA: Network = ip_network("168.63.129.16/32")
"""Refused likewise: a cloud's own service at an address that is public by its range."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one coturn is run. Addresses are literal."""

    port: int
    realm: str
    secrets: Sequence[str] = field(repr=False)
    """Credentials made with any of these are taken."""
    listen: Sequence[str] = ()
    """Addresses to listen on and relay from; none means all of the machine's."""
    external_ip: str | None = None
    """The public address in front, when the machine is behind NAT: what clients are told they are relayed from."""
    first_port: int = 49152
    last_port: int = 65535
    allowed_peers: Sequence[Network] = ()
    user_quota: int = 100
    total_quota: int = 4000
    bytes_per_s: int = 2_500_000
    """Of one allocation, each way."""


def configuration(settings: Settings) -> str:
    """The text of turnserver.conf."""
    lines = [
        "# Written by Landline at every start.",
        f"listening-port={settings.port}",
        *(f"listening-ip={address}" for address in settings.listen),
        *(f"relay-ip={address}" for address in settings.listen),
        *([f"external-ip={settings.external_ip}"] if settings.external_ip else []),
        f"min-port={settings.first_port}",
        f"max-port={settings.last_port}",
        f"realm={settings.realm}",
        "use-auth-secret",
        *(f"static-auth-secret={secret}" for secret in settings.secrets),
        "fingerprint",
        "stale-nonce=600",
        f"user-quota={settings.user_quota}",
        f"total-quota={settings.total_quota}",
        f"max-bps={settings.bytes_per_s}",
        *_less(),
        *peers(settings.allowed_peers),
    ]
    return "\n".join(lines) + "\n"


def _less() -> list[str]:
    """What is switched off: everything that is not UDP relaying for clients with credentials."""
    return [
        "no-tcp-relay",
        "no-multicast-peers",
        "no-cli",
        "no-software-attribute",
        "no-rfc5780",  # with the next two: answers no longer than questions, nothing to amplify an attack with
        "no-stun-backward-compatibility",
        "response-origin-only-with-rfc5780",
        "no-tls",
        "no-dtls",
        "pidfile=/dev/null",
        "userdb=/dev/null/none",  # the machine's own database could hold other users and secrets
        "log-file=stdout",
        "simple-log",
    ]


def peers(allowed: Sequence[Network]) -> list[str]:
    """Who may not be relayed to, and who may all the same (what is allowed wins over what is denied)."""
    loopback = ["allow-loopback-peers"] if any(reaches_loopback(network) for network in allowed) else []
    return [
        *(f"denied-peer-ip={span}" for network in (*DENIED, _METADATA) for span in _spans(network)),
        *loopback,  # only lifts coturn's own ban; what is denied above stays denied
        *(f"allowed-peer-ip={span}" for network in allowed for span in _spans(network)),
    ]


def reaches_loopback(network: Network) -> bool:
    """Whether some address of `network` is this machine talking to itself."""
    loopback = ip_network("127.0.0.0/8") if network.version == 4 else ip_network("::1/128")
    return network.overlaps(loopback)


def _spans(network: Network) -> list[str]:
    """As coturn writes ranges; it knows no prefixes.

    It compares IPv6 addresses byte by byte, each on its own, and takes a range from or to `::` for one without that end
    (coturn 4.6, `ioa_addr_in_range`): then it holds all of IPv4 too. So `::` is left out, which coturn itself never
    relays to, and the rest of its network is cut into ranges that each begin with another byte.
    """
    first, last = network.network_address, network.broadcast_address
    if network.version == 6 and int(first) == 0:
        host_bits = 128 - network.prefixlen
        return [f"{ip_address(bytes(15 - at) + bytes([1]) + bytes(at))}-{last}" for at in range(-(-host_bits // 8))]
    return [str(first) if first == last else f"{first}-{last}"]
