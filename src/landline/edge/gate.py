"""Who may pass: turns what a request carries into a `Caller`, by the access its route asks for."""

import hmac

from landline.core.errors import Unauthorized
from landline.edge.bearer import ServiceTokens
from landline.edge.hmac import Signatures, forwarded_host
from landline.edge.http import Caller, Request
from landline.edge.routes import Access
from landline.edge.tenancy import Tenancy, Tenants, UserTokens

_DENIED = "Denied"
"""How Azure calls whatever proves nobody who could be of the resource: no signature, a wrong one, another body's hash,
a token that is none (issues 11767 of azure-rest-api-specs, 31604 and 22312 of azure-sdk-for-js). To somebody who is
known and uses what is not his, and to users, it says `Unauthorized`."""


class Gate:
    """Authenticates requests. Parts a server does without are None, and their routes refuse everyone."""

    def __init__(
        self,
        *,
        tenants: Tenants | None = None,
        signatures: Signatures | None = None,
        service_tokens: ServiceTokens | None = None,
        user_tokens: UserTokens | None = None,
        admin_token: str | None = None,
        trust_forwarded_host: bool = False,
    ) -> None:
        self._tenants = tenants
        self._signatures = signatures
        self._service_tokens = service_tokens
        self._user_tokens = user_tokens
        self._admin_token = admin_token
        self._trust_forwarded_host = trust_forwarded_host

    async def admit(self, request: Request, access: Access) -> None:
        """Prove who sent `request` and note it there. Raises `Unauthorized`."""
        if access is Access.SERVICE:
            try:
                request.authenticated(await self._service(request))
            except Unauthorized as error:
                error.code = _DENIED
                raise
        elif access is Access.USER:
            request.authenticated(await self._user(request))
        elif access is Access.ADMIN:
            self._admin(request)

    async def _service(self, request: Request) -> Caller:
        authorization = request.headers.get("authorization")
        if authorization is None:
            raise Unauthorized("The request carries no Authorization header.")
        tenancy = await self._tenancy(request)
        if authorization[:7].lower() == "bearer ":
            return await self._service_bearer(authorization[7:].strip(), tenancy)
        if self._signatures is None:
            raise Unauthorized("This server takes no signed requests.")
        key = self._signatures.verify(request, tenancy.keys)
        return Caller(key.resource, key.label)

    async def _service_bearer(self, token: str, tenancy: Tenancy) -> Caller:
        if self._service_tokens is None:
            raise Unauthorized("No issuer of service tokens is configured on this server.")
        await self._service_tokens.check(token)
        resource = tenancy.resource or tenancy.default
        if resource is None:
            raise Unauthorized("A service token needs the resource's own host name here.")
        return Caller(resource)

    async def _user(self, request: Request) -> Caller:
        token = _user_token(request)
        if self._user_tokens is None:
            raise Unauthorized("This server takes no user tokens.")
        tenancy = await self._tenancy(request)
        caller = await self._user_tokens.check(token)
        if tenancy.resource is not None and tenancy.resource != caller.resource:
            raise Unauthorized("The token is of another resource than this host name's.")
        return caller

    def _admin(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "")
        given = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
        if not self._admin_token or not hmac.compare_digest(given.encode(), self._admin_token.encode()):
            raise Unauthorized("The admin API needs its bearer token.")

    async def _tenancy(self, request: Request) -> Tenancy:
        if self._tenants is None:
            raise Unauthorized("This server has no resources.")
        host = request.headers.get("host", "")
        if self._trust_forwarded_host:
            host = forwarded_host(request.headers) or host
        request.host = host
        return await self._tenants.at(host)


def _user_token(request: Request) -> str:
    """The token in `Authorization`, or in the realtime clients' own header (acs-wire.md 2.3)."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        if authorization[:7].lower() != "bearer ":
            raise Unauthorized("This operation needs a user access token as Bearer.")
        return authorization[7:].strip()
    token = request.headers.get("x-skypetoken")
    if token is None:
        raise Unauthorized("The request carries no user access token.")
    return token.removeprefix("skypetoken=").strip()
