"""Communication resources and their access keys as values, and the pure rules on them: names, labels, host names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from urllib.parse import urlsplit

from landline.core.errors import Invalid
from landline.core.ids import ResourceId

LOCATION = "unitedstates"
KEY_BYTES = 64

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Slot(Enum):
    """Which of a resource's two keys: clients move to the one while the other is rotated."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


@dataclass(frozen=True, slots=True)
class Resource:
    """One tenant. `name` is a DNS label, as it becomes part of the host name."""

    resource_id: ResourceId
    name: str
    location: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One of a resource's keys, opened."""

    resource_id: ResourceId
    slot: Slot
    generation: int
    secret: bytes = field(repr=False)

    @property
    def label(self) -> str:
        """What tokens and callers name it by: `primary:3`."""
        return f"{self.slot.value}:{self.generation}"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """One of a resource's keys as it is stored."""

    resource_id: ResourceId
    slot: Slot
    generation: int
    sealed: bytes = field(repr=False)

    @property
    def purpose(self) -> str:
        """What it is sealed for, so that no stored key opens in another's place."""
        return f"resources.key:{self.resource_id}:{self.slot.value}:{self.generation}"


def checked_name(name: str) -> str:
    """`name` when a resource may have it. Raises `Invalid`."""
    if _NAME.fullmatch(name) is None:
        raise Invalid("A name has 1 to 63 lower-case letters, digits and inner hyphens.", target="name")
    return name


def slot(text: str) -> Slot:
    """The slot called `text`. Raises `Invalid`."""
    try:
        return Slot(text)
    except ValueError:
        raise Invalid("The slot is primary or secondary.", target="slot") from None


def host_name(host: str) -> str:
    """The name in a Host header's value, without port and in lower case."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".").lower()


def named_resource(host: str, base_hosts: Iterable[str]) -> str | None:
    """The resource that `host` names as `<resource>.<base host>`, or None when it is a general name."""
    name = host_name(host)
    for base in base_hosts:
        label, dot, rest = name.partition(".")
        if dot and rest == base:
            return label
    return None


def parse_connection_string(text: str) -> tuple[str, str]:
    """(host and port of the endpoint, access key) of a connection string, its parts in any order and case. Raises
    `Invalid`."""
    parts: dict[str, str] = {}
    for element in text.split(";"):
        name, _, value = element.partition("=")
        parts[name.strip().lower()] = value.strip()
    if not parts.get("endpoint") or not parts.get("accesskey"):
        raise Invalid("A connection string reads endpoint=https://…/;accesskey=…", target="connectionString")
    try:
        return urlsplit(parts["endpoint"]).netloc, parts["accesskey"]
    except ValueError:
        raise Invalid("The endpoint of the connection string is not a URL.", target="connectionString") from None
