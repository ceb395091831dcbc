"""Relay configurations: where the TURN servers are, and credentials for them that end by themselves.

Their end is told in the machine's own time, not the Clock's: TURN servers check it, and cannot be driven.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from landline.core.errors import NotServed
from landline.core.ids import ResourceId
from landline.ports.relay import Relay
from landline.services.relay import model
from landline.services.relay.model import Credentials, RouteType


@dataclass(frozen=True, slots=True)
class Issued:
    """One relay configuration."""

    servers: dict[RouteType, tuple[str, ...]]
    """Their URLs by route type."""
    credentials: Credentials


class Relays:
    """Hands out relay configurations. Nothing is stored: a configuration cannot be taken back, so it is short-lived."""

    def __init__(self, relay: Relay | None, *, wall: Callable[[], datetime], longest_ttl_s: int) -> None:
        """`relay` None: there is none, and that is what callers are told. `wall` is the machine's time."""
        self._relay = relay
        self._wall = wall
        self._longest_ttl_s = longest_ttl_s

    def issue(self, resource: ResourceId, user: str | None, route_type: str | None, ttl_s: int | None) -> Issued:
        """A configuration for the user of that raw id, or for somebody unnamed. Raises `Invalid`, `Forbidden`,
        `NotServed`."""
        wanted = model.checked_route_type(route_type)
        life_s = model.checked_ttl(ttl_s, self._longest_ttl_s)
        # The relay's quota counts by name: those who are not named do not share one.
        name = model.checked_user(resource, user) if user is not None else f"{resource}_{os.urandom(8).hex()}"
        if self._relay is None:
            raise NotServed("This server has no TURN relay: start it with relay = true, or set relay_urls.")
        servers = model.servers(self._relay.urls, wanted)
        return Issued(servers, model.credentials(self._relay.secret, name, self._wall(), life_s))
