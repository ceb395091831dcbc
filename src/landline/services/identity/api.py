"""The public operations of the identity service (acs-wire.md 5.1), and the keys that verify its tokens."""

import msgspec

from landline.core.errors import NotServed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Handler, Route
from landline.services.identity.model import Token, required
from landline.services.identity.service import Identity
from landline.wire.base import timestamp
from landline.wire.identity import (
    CommunicationIdentity,
    CommunicationIdentityAccessToken,
    CommunicationIdentityAccessTokenRequest,
    CommunicationIdentityAccessTokenResult,
    CommunicationIdentityCreateRequest,
    TeamsUserExchangeTokenRequest,
)

_CREATE = msgspec.json.Decoder(CommunicationIdentityCreateRequest)
_ISSUE = msgspec.json.Decoder(CommunicationIdentityAccessTokenRequest)
_EXCHANGE = msgspec.json.Decoder(TeamsUserExchangeTokenRequest)
_NO_STORE = {"cache-control": "no-store"}
_PUBLIC = {"cache-control": "public, max-age=300"}


class EntraNeeded(NotServed):
    """A Teams user's token can only be exchanged by whoever can verify it: Microsoft Entra."""

    code = "MicrosoftEntraRequired"


def routes(identity: Identity, public_url: str) -> list[Route]:
    """`public_url` is the server's own URL, by which clients find the keys."""
    api = _Api(identity, public_url.rstrip("/"))
    operations = "communicationIdentityOperations"
    return [
        Route("POST", "/identities", api.create, name=f"{operations}_create"),
        Route("DELETE", "/identities/{id}", api.delete, name=f"{operations}_delete"),
        Route("POST", "/identities/{id}/:issueAccessToken", api.issue, name=f"{operations}_issueAccessToken"),
        Route("POST", "/identities/{id}/:revokeAccessTokens", api.revoke, name=f"{operations}_revokeAccessTokens"),
        Route(
            "POST",
            "/teamsUser/:exchangeAccessToken",
            api.exchange,
            name=f"{operations}_exchangeTeamsUserAccessToken",
        ),
        _open("/.well-known/jwks.json", api.jwks, "identity_jwks"),
        _open("/.well-known/openid-configuration", api.discovery, "identity_discovery"),
    ]


def _open(template: str, handler: Handler, name: str) -> Route:
    return Route("GET", template, handler, access=Access.NONE, versioned=False, name=name)


class _Api:
    def __init__(self, identity: Identity, public_url: str) -> None:
        self._identity = identity
        self._public_url = public_url

    async def create(self, request: Request) -> Response:
        # The SDKs send an empty body when they want no token (acs-wire.md 3).
        wanted = request.decode(_CREATE) if request.body else CommunicationIdentityCreateRequest()
        user, token = await self._identity.create(
            request.caller, wanted.create_token_with_scopes, wanted.expires_in_minutes
        )
        shape = CommunicationIdentityAccessTokenResult(
            CommunicationIdentity(user.raw_id), _shape(token) if token else None
        )
        return json_response(201, shape, _NO_STORE)

    async def issue(self, request: Request) -> Response:
        wanted = request.decode(_ISSUE)
        token = await self._identity.issue(
            request.caller, request.params["id"], wanted.scopes, wanted.expires_in_minutes
        )
        return json_response(200, _shape(token), _NO_STORE)

    async def revoke(self, request: Request) -> Response:
        await self._identity.revoke(request.caller, request.params["id"])
        return Response(204)

    async def delete(self, request: Request) -> Response:
        await self._identity.delete(request.caller, request.params["id"])
        return Response(204)

    async def exchange(self, request: Request) -> Response:
        wanted = request.decode(_EXCHANGE)
        for field, value in (("Token", wanted.token), ("AppId", wanted.app_id), ("UserId", wanted.user_id)):
            if not value:
                raise required(field)
        raise EntraNeeded(
            "Exchanging a Teams user's token needs Microsoft Entra to vouch for the user; this server is not."
        )

    async def jwks(self, _request: Request) -> Response:
        return json_response(200, await self._identity.jwks(), _PUBLIC)

    async def discovery(self, _request: Request) -> Response:
        document = {
            "issuer": self._public_url,
            "jwks_uri": f"{self._public_url}/.well-known/jwks.json",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return json_response(200, document, _PUBLIC)


def _shape(token: Token) -> CommunicationIdentityAccessToken:
    return CommunicationIdentityAccessToken(token.text, timestamp(token.expires_at))
