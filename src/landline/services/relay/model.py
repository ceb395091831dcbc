"""TURN credentials as values (draft-uberti-behave-turn-rest-00 §2.2), and the rules on asking for them."""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from landline.core.errors import Forbidden, Invalid
from landline.core.ids import ResourceId, split_user_raw_id, user_raw_id
from landline.wire.relay import LONGEST_TTL_S


class RouteType(Enum):
    """Which relays to hand out; there is one region, so both are the same ones."""

    ANY = "any"
    NEAREST = "nearest"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password that a TURN server takes until `expires_at`."""

    username: str
    password: str = field(repr=False)
    expires_at: datetime


def credentials(secret: bytes, user: str, now: datetime, ttl_s: int) -> Credentials:
    """Credentials for `user` that end `ttl_s` after `now`: the name says when, the password proves the name."""
    expiry = int(now.timestamp()) + ttl_s
    username = f"{expiry}:{user}"
    password = base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode()
    return Credentials(username, password, datetime.fromtimestamp(expiry, UTC))


def checked_user(resource: ResourceId, raw_id: str) -> str:
    """`raw_id` of a user of `resource`. Raises `Invalid`, `Forbidden` for another resource's."""
    ids = split_user_raw_id(raw_id)
    if ids is None:
        raise Invalid("The id is not the id of a communication user.", target="id")
    if ids[0] != resource:
        raise Forbidden("The identity belongs to another resource.")
    return user_raw_id(*ids)


def checked_route_type(text: str | None) -> RouteType | None:
    """None when nothing is said. Raises `Invalid`."""
    if text is None:
        return None
    try:
        return RouteType(text)
    except ValueError:
        raise Invalid("The route type is any or nearest.", target="routeType") from None


def servers(urls: Sequence[str], wanted: RouteType | None) -> dict[RouteType, tuple[str, ...]]:
    """Which of `urls` to name for each route type. Asked for none, ACS has servers of both.

    Here they are the same ones, and a browser takes an address twice only when it is reached by connections: Chromium
    sends all its allocations by UDP from one port, where the second one at an address fails, and the first with it.
    """
    if wanted is not None:
        return {wanted: tuple(urls)}
    again = tuple(url for url in urls if _connects(url))
    return {RouteType.ANY: tuple(urls), **({RouteType.NEAREST: again} if again else {})}


def _connects(url: str) -> bool:
    """Whether it is reached by TCP, TLS on it or not (RFC 7065 §3.1)."""
    scheme, _, rest = url.lower().partition(":")
    transport = rest.partition("?transport=")[2]
    return transport == "tcp" or (scheme == "turns" and not transport)


def checked_ttl(ttl_s: int | None, longest_s: int) -> int:
    """How long credentials live: as asked, but no longer than `longest_s`. Raises `Invalid` outside 1..172800."""
    if ttl_s is None:
        return longest_s
    if not 1 <= ttl_s <= LONGEST_TTL_S:
        raise Invalid(f"The time to live is 1 to {LONGEST_TTL_S} seconds.", target="ttl")
    return min(ttl_s, longest_s)
