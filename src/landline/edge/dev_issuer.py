"""The issuer of service tokens in `dev`: client credentials against the server itself, so that code written for
Microsoft Entra runs unchanged. It speaks the parts of OAuth 2 (RFC 6749 §4.4) and OIDC discovery that `azure-identity`
uses."""

import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import ECAlgorithm

from landline.edge.bearer import AUDIENCE, Issuer, VerificationKey
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Route

LIFE_S = 3600
SCOPE = "https://communication.azure.com//.default"
_CURVE = ec.SECP256R1()


class DevIssuer:
    """Issues service tokens to whoever knows `secret`. Every process given the same secret has the same key, so nothing
    is stored. `url` is where its routes are reached, without a slash at the end. Fills `KeySource`."""

    def __init__(self, secret: str, url: str, *, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._url = url
        self._now = now
        material = HKDF(algorithm=SHA256(), length=40, salt=None, info=b"landline dev issuer").derive(secret.encode())
        # 40 bytes leave no bias worth naming modulo the curve's order (RFC 9380 §5).
        order = int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
        self._key = ec.derive_private_key(int.from_bytes(material, "big") % (order - 1) + 1, _CURVE)
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.kid = f"dev-{jwk['x'][:12]}"
        self._jwk = {**jwk, "kid": self.kid, "alg": "ES256", "use": "sig"}

    @property
    def issuer(self) -> Issuer:
        """This issuer as `ServiceTokens` wants it."""
        return Issuer(self._url, self)

    async def key(self, kid: str) -> VerificationKey | None:
        return VerificationKey("ES256", self._key.public_key()) if kid == self.kid else None

    def token(self, client: str, *, audience: str = AUDIENCE, life_s: int = LIFE_S) -> str:
        """A service token for `client`."""
        now = int(self._now())
        claims = {"iss": self._url, "aud": audience, "sub": client, "appid": client, "iat": now, "nbf": now}
        return jwt.encode({**claims, "exp": now + life_s}, self._key, algorithm="ES256", headers={"kid": self.kid})

    def routes(self) -> list[Route]:
        """Token, discovery and keys, plain and at the paths Microsoft's own authority has them."""

        def open_route(method: str, template: str, handler: Callable[[Request], Any], name: str) -> Route:
            return Route(method, template, handler, access=Access.NONE, versioned=False, name=name)

        discovery = ".well-known/openid-configuration"
        return [
            open_route("POST", "/devissuer/token", self._token, "devIssuer_token"),
            open_route("POST", "/devissuer/{tenant}/oauth2/v2.0/token", self._token, "devIssuer_token"),
            open_route("GET", f"/devissuer/{discovery}", self._discovery, "devIssuer_discovery"),
            open_route("GET", f"/devissuer/v2.0/{discovery}", self._discovery, "devIssuer_discovery"),
            open_route("GET", f"/devissuer/{{tenant}}/v2.0/{discovery}", self._discovery, "devIssuer_discovery"),
            open_route("GET", "/devissuer/jwks", self._jwks, "devIssuer_jwks"),
        ]

    async def _discovery(self, request: Request) -> Response:
        tenant = request.params.get("tenant")
        base = f"{self._url}/{tenant}/oauth2/v2.0" if tenant else self._url
        document = {
            "issuer": self._url,
            "token_endpoint": f"{base}/token",
            "authorization_endpoint": f"{base}/authorize",
            "jwks_uri": f"{self._url}/jwks",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return json_response(200, document)

    async def _jwks(self, _request: Request) -> Response:
        return json_response(200, {"keys": [self._jwk]})

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if form.get("grant_type") != "client_credentials":
            return _oauth_error(400, "unsupported_grant_type", "Only client_credentials is served.")
        if not hmac.compare_digest(form.get("client_secret", "").encode(), self._secret.encode()):
            return _oauth_error(401, "invalid_client", "The client secret is not this server's.")
        if form.get("scope", SCOPE) != SCOPE:
            return _oauth_error(400, "invalid_scope", f"The only scope is {SCOPE}.")
        answer = {
            "token_type": "Bearer",
            "expires_in": LIFE_S,
            "expires_on": int(self._now()) + LIFE_S,
            "access_token": self.token(form.get("client_id", "dev")),
        }
        return json_response(200, answer, {"cache-control": "no-store"})


def _oauth_error(status: int, code: str, description: str) -> Response:
    return json_response(status, {"error": code, "error_description": description}, {"cache-control": "no-store"})
