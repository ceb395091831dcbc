"""JSON shapes of network traversal (acs-wire.md 8)."""

from typing import Annotated

from msgspec import Meta

from landline.wire.base import Wire

LONGEST_TTL_S = 172_800


class CommunicationRelayConfigurationRequest(Wire):
    id: str | None = None
    """Raw id of the communication user it is for."""
    route_type: str | None = None
    ttl: Annotated[int, Meta(le=LONGEST_TTL_S)] | None = None
    """Seconds."""


class CommunicationIceServer(Wire):
    """What a browser's RTCPeerConnection takes as one of its `iceServers`."""

    urls: list[str]
    username: str
    credential: str
    route_type: str


class CommunicationRelayConfiguration(Wire):
    expires_on: str
    """As `wire.base.timestamp` writes it."""
    ice_servers: list[CommunicationIceServer]
