"""Wrong passwords: eight characters can be guessed, so whoever guesses wrong must wait, and the longer the oftener.

Counted for each pair of system id and address, for each address (an IPv6 one by its /64) and for each system id. The
last holds only for addresses that never had the right password, so that no stranger can lock a customer out.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

_FREE = {"pair": 5, "address": 20, "system": 100}
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

    def blocked(self, system_id: str, address: str, now: float) -> bool:
        """Whether this one must wait; the password it comes with is not even looked at."""
        for kind, key in _keys(system_id, address).items():
            count = self._counts[kind].get(key)
            if kind == "system" and (system_id, _block(address)) in self._known:
                continue
            # Nobody waits for longer: who would was told so before the clock was set back.
            if count is not None and now < count.blocked_until <= now + _LONGEST_S:
                return True
        return False

    def wrong(self, system_id: str, address: str, now: float) -> None:
        """It was the wrong password."""
        for kind, key in _keys(system_id, address).items():
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
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def forgive(self, system_id: str) -> None:
        """The account was changed by its operator: wrong passwords for it so far are forgotten."""
        for kind in ("pair", "system"):
            for key in [key for key in self._counts[kind] if key[0] == system_id]:
                del self._counts[kind][key]


def _keys(system_id: str, address: str) -> dict[str, tuple[str, str]]:
    block = _block(address)
    return {"pair": (system_id, block), "address": ("", block), "system": (system_id, "")}


def _block(address: str) -> str:
    """What one stranger has of addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
