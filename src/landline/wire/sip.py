"""JSON shapes of SIP routing (acs-wire.md 6)."""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from landline.wire.base import Wire


class SipTrunk(Wire):
    sip_signaling_port: int


class TrunkUpdate(Wire):
    """One trunk of a merge patch: what is absent stays."""

    sip_signaling_port: int | UnsetType = UNSET


class SipTrunkRoute(Wire):
    name: Annotated[str, Meta(max_length=256)]
    number_pattern: Annotated[str, Meta(max_length=1024)]
    description: Annotated[str, Meta(max_length=1024)] | None = None
    trunks: Annotated[list[str], Meta(max_length=250)] | None = None


Routes: TypeAlias = Annotated[list[SipTrunkRoute], Meta(max_length=250)]


class SipConfiguration(Wire):
    trunks: dict[str, SipTrunk] | None = None
    """By FQDN."""
    routes: Routes | None = None
    """The first that matches is followed first."""


class SipConfigurationUpdate(Wire):
    """A merge patch (RFC 7396): a trunk that is null goes, routes are replaced whole."""

    trunks: dict[str, TrunkUpdate | None] | UnsetType | None = UNSET
    routes: Routes | UnsetType | None = UNSET
