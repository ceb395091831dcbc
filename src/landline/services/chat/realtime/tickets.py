"""Tickets: what a socket's address carries instead of a token, as browsers can send no header with a WebSocket.

A ticket is the user's token sealed with the deployment's secret. Any process can read it, nobody else; and since the
token inside is checked each time, a ticket is good exactly as long as its token.
"""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from landline.core.errors import Unauthorized
from landline.core.ids import RawId, ResourceId
from landline.edge.scopes import IN_CHAT, require
from landline.edge.tenancy import UserTokens
from landline.store.sealing import Sealer, WrongSeal

_PURPOSE = "chat ticket"
_LONGEST = 8192


class _Claims(msgspec.Struct):
    exp: int


_claims = msgspec.json.Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a ticket, and until when."""

    resource: ResourceId
    user: RawId
    token: str = field(repr=False)
    ends_at: datetime


class Tickets:
    """Issues tickets and reads them, in any process of the deployment."""

    def __init__(self, sealer: Sealer, tokens: UserTokens) -> None:
        self._sealer = sealer
        self._tokens = tokens

    async def holder(self, token: str) -> Holder:
        """Who `token` stands for now. Raises `Unauthorized`, `Forbidden`."""
        caller = await self._tokens.check(token)
        return Holder(caller.resource, require(caller, IN_CHAT), token, _ends_at(token))

    def issue(self, holder: Holder) -> str:
        """A ticket for `holder`, safe in a URL."""
        sealed = self._sealer.seal(holder.token.encode(), _PURPOSE)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    async def read(self, ticket: str | None) -> Holder:
        """Who holds `ticket`, whose token is good now. Raises `Unauthorized`, `Forbidden`."""
        if not ticket or len(ticket) > _LONGEST:
            raise Unauthorized("The request carries no ticket.")
        try:
            sealed = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
            token = self._sealer.open(sealed, _PURPOSE).decode()
        except (WrongSeal, binascii.Error, ValueError):
            raise Unauthorized("This server has not issued the ticket.") from None
        return await self.holder(token)


def _ends_at(token: str) -> datetime:
    """`exp` of a token that has been checked (RFC 7519 §4.1.4)."""
    payload = token.split(".")[1]
    claims = _claims.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return datetime.fromtimestamp(claims.exp, UTC)
