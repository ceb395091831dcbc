"""The admin routes of carriers' prices: listed, set one by one or from CSV, removed."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from landline.core import money
from landline.core.errors import Invalid
from landline.edge import csv_files, queries
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms import price_csv
from landline.services.sms.model.prices import Price, checked_amount, checked_prefix
from landline.services.sms.prices import Prices
from landline.wire.base import Wire


class PriceSetting(Wire, forbid_unknown_fields=True):
    """A price as it is set. The other fields, which are shown, may be sent back if they say the same."""

    price: Decimal
    """A number or its text."""
    carrier: str | None = None
    prefix: str | None = None
    currency: str | None = None


class PriceShown(Wire, omit_defaults=False):
    """A price as it is shown: decimals as text, which no reader rounds."""

    carrier: str
    prefix: str
    price: str
    currency: str


class PricePage(Wire):
    """Some prices, and how to ask for the next."""

    value: list[PriceShown]
    continuation_token: str | None = None


_PRICE = msgspec.json.Decoder(PriceSetting)
_PLACE = msgspec.json.Decoder(tuple[str | None, str, str])


def routes(prices: Prices) -> list[Route]:
    """The admin operations."""
    handlers = _Handlers(prices)
    one = "/sms/prices/{carrier}/{prefix}"
    return [
        admin_route("GET", "/sms/prices", handlers.show_page, "Prices_List"),
        admin_route("POST", "/sms/prices:import", handlers.take, "Prices_Import"),
        admin_route("DELETE", "/sms/prices/{carrier}", handlers.delete_all, "Prices_DeleteAll"),
        admin_route("GET", one, handlers.show, "Prices_Get"),
        admin_route("PUT", one, handlers.put, "Prices_Put"),
        admin_route("DELETE", one, handlers.delete, "Prices_Delete"),
    ]


class _Handlers:
    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    async def show_page(self, request: Request) -> Response:
        """The prices by carrier and prefix, of all carriers or one."""
        query = request.query
        queries.refuse_unknown(query, ("carrier", "pageSize", "continuationToken"))
        of, carrier, prefix = self._place(query.get("carrier"), query.get("continuationToken"))
        size = queries.page_size(query)
        found = await self._prices.page(of, (carrier, prefix), size + 1)
        shown = found[:size]
        token = queries.token((of, shown[-1].carrier, shown[-1].prefix)) if len(found) > size else None
        return json_response(200, PricePage(self._shown(shown), token))

    async def show(self, request: Request) -> Response:
        """One price."""
        found = await self._prices.get(request.params["carrier"], request.params["prefix"])
        return json_response(200, self._shown([found])[0])

    async def put(self, request: Request) -> Response:
        """Set a price, in place of the one there is; in force when answered."""
        asked, carrier = request.decode(_PRICE), request.params["carrier"]
        prefix = checked_prefix(request.params["prefix"])
        for field, said, meant in (
            ("carrier", asked.carrier, carrier),
            ("prefix", asked.prefix, prefix),
            ("currency", asked.currency, self._prices.currency),
        ):
            if said not in (None, meant):
                raise Invalid(f"Must be {meant}, or left out.", target=field)
        price = Price(carrier, prefix, checked_amount(asked.price))
        await self._prices.put([price])
        return json_response(200, self._shown([price])[0])

    async def take(self, request: Request) -> Response:
        """Set the prices of a CSV file, all of them or none."""
        queries.refuse_unknown(request.query, ("carrier", "replace"))
        replace = request.query.get("replace", "false")
        if replace not in ("true", "false"):
            raise Invalid("Must be true or false.", target="replace")
        text = csv_files.text(request.body)
        # Reading thousands of prices takes a while.
        found = await asyncio.to_thread(price_csv.read, text, request.query.get("carrier"))
        removed = await self._prices.put(found, replace=replace == "true")
        return json_response(200, {"set": len(found), "removed": removed})

    async def delete(self, request: Request) -> Response:
        """Remove a price: that of the next shorter prefix is in force then."""
        await self._prices.delete(request.params["carrier"], request.params["prefix"])
        return Response(204)

    async def delete_all(self, request: Request) -> Response:
        """Remove all prices of a carrier."""
        await self._prices.delete(request.params["carrier"])
        return Response(204)

    def _place(self, of: str | None, token: str | None) -> tuple[str | None, str, str]:
        if token is None:
            return of, "", ""
        if of is not None:
            raise Invalid("The token says so already: leave this out.", target="carrier")
        found = queries.place(_PLACE, token)
        if found is None:
            raise Invalid("This is not a token that an answer carried.", target="continuationToken")
        return found

    def _shown(self, prices: Sequence[Price]) -> list[PriceShown]:
        currency = self._prices.currency
        return [PriceShown(each.carrier, each.prefix, money.text(each.micros), currency) for each in prices]
