"""Headers that a subscription's owner wants with every delivery: which may be, and which of them are secret."""

import re
from collections.abc import Sequence

import msgspec

from landline.core.errors import Invalid
from landline.services.events.model import Secrets, Settings
from landline.wire.events import DeliveryHeader

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_OURS = frozenset(
    {"connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer", "upgrade"}
    | {"content-encoding", "transfer-encoding", "proxy-authorization", "proxy-connection", "x-landline-signature"}
)
_OUR_PREFIXES = ("aeg-", "webhook-", "ce-")


def applied(headers: Sequence[DeliveryHeader], settings: Settings, secrets: Secrets) -> tuple[Settings, Secrets]:
    """Settings and secrets with `headers` in place of those before; a secret one without value keeps the one it had.

    Raises `Invalid`.
    """
    known = dict(secrets.headers)
    public: dict[str, str] = {}
    secret: dict[str, str] = {}
    for header in headers:
        name = _checked(header)
        if name in public or name in secret:
            raise Invalid(f"The header {name} is given twice.", target="deliveryHeaders")
        if header.is_secret:
            secret[name] = header.value or known.get(name, "")
        else:
            public[name] = header.value
    return (
        msgspec.structs.replace(settings, headers=tuple(public.items()), secret_headers=tuple(secret)),
        msgspec.structs.replace(secrets, headers=tuple(secret.items())),
    )


def _checked(header: DeliveryHeader) -> str:
    name = header.name.lower()
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(header.value):
        raise Invalid(
            f"The header {header.name!r} has a name or value that HTTP does not allow.", target="deliveryHeaders"
        )
    if name in _OURS or name.startswith(_OUR_PREFIXES):
        raise Invalid(f"The header {name} is set by the delivery itself.", target="deliveryHeaders")
    return name
