"""The admin routes of SMPP accounts: made, listed, changed, deleted, their passwords rotated."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from landline.core.ids import ResourceId, ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.protocols.smpp.texts import Alphabet
from landline.services.sms.accounts import Accounts, Settings
from landline.services.sms.model.esme import EsmeAccount
from landline.wire.base import Wire


class AccountChange(Wire, forbid_unknown_fields=True):
    """What may be set of an account; what is absent stays. `ratePerS` null is no limit."""

    enabled: bool | None = None
    addresses: list[str] | None = None
    binds: int | None = None
    window: int | None = None
    rate_per_s: float | UnsetType | None = UNSET
    receipts: bool | None = None
    texts: list[str] | None = None
    alphabet: Alphabet | None = None


class NewAccount(AccountChange, kw_only=True):
    system_id: str


class AccountShape(msgspec.Struct, rename="camel"):
    """An account as it is shown. `password` is there only where it is new."""

    system_id: str
    enabled: bool
    addresses: tuple[str, ...]
    binds: int
    window: int
    rate_per_s: float | None
    receipts: bool
    texts: tuple[str, ...]
    alphabet: Alphabet
    created_at: datetime
    password: str | UnsetType = UNSET


_NEW = msgspec.json.Decoder(NewAccount)
_CHANGE = msgspec.json.Decoder(AccountChange)
_NO_STORE = {"cache-control": "no-store"}


def routes(accounts: Accounts, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""
    admin = _Admin(accounts, resource_named)
    collection, member = "/resources/{name}/smpp-accounts", "/resources/{name}/smpp-accounts/{systemId}"
    return [
        admin_route("GET", collection, admin.list, "SmppAccounts_List"),
        admin_route("POST", collection, admin.create, "SmppAccounts_Create"),
        admin_route("GET", member, admin.get, "SmppAccounts_Get"),
        admin_route("PATCH", member, admin.change, "SmppAccounts_Change"),
        admin_route("DELETE", member, admin.delete, "SmppAccounts_Delete"),
        admin_route("POST", member + ":rotate", admin.rotate, "SmppAccounts_Rotate"),
    ]


class _Admin:
    def __init__(self, accounts: Accounts, resource_named: ResourceNamed) -> None:
        self._accounts = accounts
        self._resource_named = resource_named

    async def list(self, request: Request) -> Response:
        """The SMPP accounts of a resource."""
        found = await self._accounts.list(await self._resource(request))
        return json_response(200, {"value": [_shape(account) for account in found]})

    async def create(self, request: Request) -> Response:
        """Make an SMPP account; its password is shown in the answer and never again."""
        asked = request.decode(_NEW)
        account, password = await self._accounts.create(
            await self._resource(request), asked.system_id, _settings(asked)
        )
        return json_response(201, _shape(account, password), _NO_STORE)

    async def get(self, request: Request) -> Response:
        """One SMPP account."""
        found = await self._accounts.get(await self._resource(request), request.params["systemId"])
        return json_response(200, _shape(found))

    async def change(self, request: Request) -> Response:
        """Change an SMPP account. Its connections are cut when it is disabled or its addresses change."""
        asked = request.decode(_CHANGE)
        changed = await self._accounts.change(
            await self._resource(request), request.params["systemId"], _settings(asked)
        )
        return json_response(200, _shape(changed))

    async def delete(self, request: Request) -> Response:
        """Delete an SMPP account and what waits for it; its connections are cut."""
        await self._accounts.delete(await self._resource(request), request.params["systemId"])
        return Response(204)

    async def rotate(self, request: Request) -> Response:
        """Give an SMPP account a new password; its connections are cut."""
        account, password = await self._accounts.rotate(await self._resource(request), request.params["systemId"])
        return json_response(200, _shape(account, password), _NO_STORE)

    async def _resource(self, request: Request) -> ResourceId:
        return await self._resource_named(request.params["name"])


def _settings(asked: AccountChange) -> Settings:
    rate = asked.rate_per_s
    return Settings(
        enabled=asked.enabled,
        addresses=asked.addresses,
        binds=asked.binds,
        window=asked.window,
        rate_per_s=None if isinstance(rate, UnsetType) else rate,
        unlimited=rate is None,
        receipts=asked.receipts,
        texts=asked.texts,
        alphabet=asked.alphabet,
    )


def _shape(account: EsmeAccount, password: str | UnsetType = UNSET) -> AccountShape:
    return AccountShape(
        account.system_id,
        account.enabled,
        account.addresses,
        account.binds,
        account.window,
        account.rate_per_s,
        account.receipts,
        account.texts,
        account.alphabet,
        account.created_at,
        password,
    )
