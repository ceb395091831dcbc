"""JSON shapes of the identity service (acs-wire.md 5.1)."""

from landline.wire.base import Wire


class CommunicationIdentityCreateRequest(Wire):
    create_token_with_scopes: list[str] | None = None
    expires_in_minutes: int | None = None


class CommunicationIdentityAccessTokenRequest(Wire):
    scopes: list[str] | None = None
    """Required; the Python client writes null for None."""
    expires_in_minutes: int | None = None


class CommunicationIdentity(Wire):
    id: str


class CommunicationIdentityAccessToken(Wire):
    token: str
    expires_on: str
    """As `wire.base.timestamp` writes it."""


class CommunicationIdentityAccessTokenResult(Wire):
    identity: CommunicationIdentity
    access_token: CommunicationIdentityAccessToken | None = None


class TeamsUserExchangeTokenRequest(Wire):
    token: str
    app_id: str
    user_id: str
