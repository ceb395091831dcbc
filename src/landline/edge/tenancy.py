"""Whose request it is by its Host header: what the edge asks of the slices that know resources and users."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from landline.core.ids import ResourceId
from landline.edge.http import Caller


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One access key of a resource. `label` is its slot and generation, as `primary:3`."""

    resource: ResourceId
    label: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What one host name stands for."""

    resource: ResourceId | None
    """The one resource that is served at this name; None for a general name, where the key tells the resource."""
    keys: Sequence[SigningKey]
    """The keys that may sign here. On a general name a bounded number of them."""
    default: ResourceId | None = None
    """The resource that a service token acts for here, as such tokens name none."""


class Tenants(Protocol):
    """Host names to resources and their present keys."""

    async def at(self, host: str) -> Tenancy:
        """The tenancy of a Host header's value (a port may follow the name). Raises `Unauthorized` when the name
        belongs to no resource."""
        ...


class UserTokens(Protocol):
    """The tokens of communication users (acs-wire.md 2.3)."""

    async def check(self, token: str) -> Caller:
        """Who `token` stands for, as of now: unexpired, unrevoked, its user still there. Raises `Unauthorized`,
        `Expired`."""
        ...
