"""Communication users and their access tokens as values, and the rules on them (acs-wire.md 5.2, 5.3, 5.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from landline.core.errors import Invalid, Unauthorized
from landline.core.ids import RawId, ResourceId, split_user_raw_id, user_raw_id
from landline.edge.scopes import ALL

MINUTES = range(60, 1441)
DEFAULT_MINUTES = 1440
LONGEST_LIFE = timedelta(minutes=DEFAULT_MINUTES)
_SCP = 1792  # what a published sample of a real token carries for chat,voip; clients do not read it
_REGION = "amer"


class ValidationError(Invalid):
    """A field has a value it may not have. Code, targets and words are those of Azure's recorded answers."""

    code = "ValidationError"


class IdentityNotOwned(Unauthorized):
    """The user is another resource's. Code and words are those of Azure's recorded answers, to all three operations."""

    code = "IdentityNotOwned"


@dataclass(frozen=True, slots=True)
class User:
    """One communication user of a resource."""

    resource_id: ResourceId
    user_id: UUID
    created_at: datetime

    @property
    def raw_id(self) -> RawId:
        return user_raw_id(self.resource_id, self.user_id)


@dataclass(frozen=True, slots=True)
class Token:
    """A user's access token as it was issued."""

    text: str
    expires_at: datetime


class Claims(msgspec.Struct, omit_defaults=True):
    """The payload of a user's access token: what the SDKs read (acs-wire.md 5.3), then what revokes it.

    Its JSON is ASCII without `>`, `?` and `~`, so that its base64url never holds `-` or `_`: the Python SDK decodes it
    as plain base64, which silently drops those two.
    """

    skypeid: str
    """`acs:<resource>_<user>`: the raw id without its `8:`."""
    scp: int
    csi: str
    exp: int
    rgn: str
    acsScope: str
    resourceId: str
    resourceLocation: str
    iat: int
    generation: int = 0
    """The user's count of revocations when it was issued."""
    key: str = ""
    """The access key that asked for it, as `primary:3`; empty when a service token did."""

    @property
    def user(self) -> tuple[ResourceId, UUID] | None:
        """(resource, user), or None when the claims contradict themselves."""
        ids = split_user_raw_id(f"8:{self.skypeid}")
        return (ResourceId(ids[0]), ids[1]) if ids is not None and str(ids[0]) == self.resourceId else None


def claims(
    user: RawId,
    resource_id: ResourceId,
    location: str,
    scopes: Sequence[str],
    *,
    issued_at: datetime,
    minutes: int,
    generation: int,
    key: str,
) -> Claims:
    """The claims of a token for `user` that lives `minutes` from `issued_at`."""
    issued = int(issued_at.timestamp())
    return Claims(
        skypeid=user.removeprefix("8:"),
        scp=_SCP,
        csi=str(issued),
        exp=issued + minutes * 60,
        rgn=_REGION,
        acsScope=",".join(scopes),
        resourceId=str(resource_id),
        resourceLocation=location,
        iat=issued,
        generation=generation,
        key=key,
    )


def checked_scopes(scopes: Sequence[str] | None, *, target: str) -> list[str]:
    """`scopes` without repetitions. Raises `ValidationError` when there is none, or one that does not exist."""
    if scopes is None:
        raise required(target)
    if not scopes:
        raise ValidationError("Invalid scopes - Scopes field is required.", target=target)
    if not ALL.issuperset(scopes):
        raise ValidationError(f"Scopes are one or more of {', '.join(sorted(ALL))}.", target=target)
    return list(dict.fromkeys(scopes))


def checked_minutes(minutes: int | None) -> int:
    """The life of a token in minutes, by default a day. Raises `ValidationError` outside 60..1440."""
    if minutes is None:
        return DEFAULT_MINUTES
    if minutes not in MINUTES:
        allowed = f"[{MINUTES.start}, {MINUTES.stop - 1}]"
        raise ValidationError(
            f"ExpiresInMinutes value {minutes} is invalid. Value must be within the {allowed} interval.",
            target="ExpiresInMinutes",
        )
    return minutes


def required(field: str) -> ValidationError:
    """What to raise when `field` is not there, or empty."""
    return ValidationError(f"{field}: The {field} field is required.", target=field)


def owned_user(raw_id: str, resource_id: ResourceId) -> UUID:
    """The user that `raw_id` names. Raises `Invalid` when it names none, `IdentityNotOwned` when another's."""
    ids = split_user_raw_id(raw_id)
    if ids is None:
        raise Invalid("The identity is not the id of a communication user.", target="id")
    if ids[0] != resource_id:
        raise IdentityNotOwned("Provided identity doesn't belong to the resource.")
    return ids[1]
