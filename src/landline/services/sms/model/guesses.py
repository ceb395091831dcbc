"""Wrong passwords: eight characters can be guessed, so whoever guesses wrong must wait, and the longer the oftener.

Counted for each pair of system id and address, and for each address (an IPv6 one by its /64). Not for a system id: with
a few addresses a stranger would lock its customer out. Nor for the address where the pair has given the right password
before: many customers have one address, behind a proxy or a NAT, and one of them who goes on with a wrong password
would lock all others out.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

_FREE = {"pair": 5, "address": 20}
"""Wrong passwords that cost nothing yet."""
_LONGEST_S = 60.0
_FORGOTTEN_S = 3600.0


@dataclass(slots=True)
class _Count:
    wrong: int
    at: float
    blocked_until: float


class Guesses:
    """Instants are seconds. Remembers at most `limit` of each kind, the latest ones."""

    def __init__(self, *, limit: int = 20_000) -> None:
        self._limit = limit
        self._counts: dict[str, OrderedDict[tuple[str, str], _Count]] = {kind: OrderedDict() for kind in _FREE}
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Pairs that gave the right password."""

    def blocked(self, system_id: str, address: str, now: float) -> bool:
        """Whether this one must wait; the password it comes with is not even looked at."""
        for kind, key in self._keys(system_id, address).items():
            count = self._counts[kind].get(key)
            # Nobody waits for longer: who would was told so before the clock was set back.
            if count is not None and now < count.blocked_until <= now + _LONGEST_S:
                return True
        return False

    def wrong(self, system_id: str, address: str, now: float) -> None:
        """It was the wrong password."""
        for kind, key in self._keys(system_id, address).items():
            counts = self._counts[kind]
            count = counts.pop(key, None)
            if count is None or count.at + _FORGOTTEN_S <= now:
                count = _Count(0, now, now)
            count.wrong += 1
            count.at = now
            over = count.wrong - _FREE[kind]
            if over >= 0:
                count.blocked_until = now + min(2.0 ** min(over, 10), _LONGEST_S)
            counts[key] = count
            if len(counts) > self._limit:
                counts.popitem(last=False)

    def right(self, system_id: str, address: str) -> None:
        """It was the right password: this pair starts anew."""
        pair = (system_id, _block(address))
        self._counts["pair"].pop(pair, None)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def forgive(self, system_id: str) -> None:
        """The account was changed by its operator: wrong passwords for it so far are forgotten."""
        pairs = self._counts["pair"]
        for pair in [pair for pair in pairs if pair[0] == system_id]:
            del pairs[pair]

    def _keys(self, system_id: str, address: str) -> dict[str, tuple[str, str]]:
        block = _block(address)
        pair = (system_id, block)
        return {"pair": pair} if pair in self._known else {"pair": pair, "address": ("", block)}


def network(address: str) -> str:
    """What one stranger may have of addresses at most, and others with him: the /48 of a site (RFC 6177), of which each
    /64 is a block of its own; an IPv4 address."""
    return _block(address, prefix=48)


def _block(address: str, *, prefix: int = 64) -> str:
    """What one stranger has of addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    host_bits = 128 - prefix
    return str(ipaddress.ip_network((int(found) >> host_bits << host_bits, prefix)))
