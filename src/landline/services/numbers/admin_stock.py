"""Admin routes of the numbers for sale: import, ranges, list, take off sale."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from landline.core.errors import Conflict, NotFound
from landline.core.ids import ResourceId
from landline.edge import csv_files, queries
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.numbers import parameters, stock_csv
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.model import Directions
from landline.store.database import Record
from landline.wire.numbers import Imported, NumberRange, PhoneNumberCapabilities, Stock, StockNumber

_RANGE = msgspec.json.Decoder(NumberRange)


def routes(
    inventory: Inventory, resource_name: Callable[[ResourceId], Awaitable[str]], check_carrier: Callable[[str], None]
) -> list[Route]:
    """`resource_name` finds a resource's name; `check_carrier` raises `Invalid` for the name of no carrier. Reading
    thousands of numbers takes seconds: it is done in a thread."""

    async def added(numbers: list[stock_csv.StockNumber]) -> Response:
        for name in {number.carrier for number in numbers if number.carrier is not None}:
            check_carrier(name)
        count = await inventory.add(numbers)
        return json_response(200, Imported(added=count, known=len(numbers) - count))

    async def take(request: Request) -> Response:
        """Put up for sale the numbers of a CSV file, all of them or none."""
        return await added(await asyncio.to_thread(stock_csv.read, csv_files.text(request.body)))

    async def take_range(request: Request) -> Response:
        """Put up for sale all numbers from the first to the last."""
        body = request.decode(_RANGE)
        numbers = await asyncio.to_thread(stock_csv.read_range, body.first, body.last, body.values)
        return await added(numbers)

    async def show(request: Request) -> Response:
        """The numbers for sale and those sold: whether each is free, held or owned, and whose."""
        queries.refuse_unknown(request.query, ("top", "after"))
        _, size = parameters.page_of(request.query, size="top")
        found = await inventory.listed(request.query.get("after", ""), size + 1)
        owners = {row["owner"] for row in found if row["owner"]}
        names = {owner: await resource_name(owner) for owner in owners}
        shown = [_shape(row, names.get(row["owner"])) for row in found[:size]]
        return json_response(200, Stock(shown, shown[-1].number if len(found) > size else None))

    async def remove(request: Request) -> Response:
        """Take a number that nobody has or holds off sale."""
        removed = await inventory.remove(request.params["number"])
        if removed is None:
            raise NotFound("The number is not for sale.", target="number")
        if not removed:
            raise Conflict("A resource has the number, or holds it.", target="number")
        return Response(204)

    return [
        admin_route("GET", "/numbers/stock", show, "NumberStock_List"),
        admin_route("POST", "/numbers/stock:import", take, "NumberStock_Import"),
        admin_route("POST", "/numbers/stock:addRange", take_range, "NumberStock_AddRange"),
        admin_route("DELETE", "/numbers/stock/{number}", remove, "NumberStock_Remove"),
    ]


def _shape(row: Record, owner: str | None) -> StockNumber:
    sms = Directions.of(inbound=row["sms_inbound"], outbound=row["sms_outbound"])
    calling = Directions.of(inbound=row["calling_inbound"], outbound=row["calling_outbound"])
    return StockNumber(
        number=row["number"],
        country=row["country"],
        kind=row["kind"],
        assignments=row["assignments"],
        capabilities=PhoneNumberCapabilities(calling.value, sms.value),
        cost=float(row["cost"]),
        currency=row["currency"],
        not_resell=row["not_resell"],
        status="owned" if owner else "held" if row["held"] else "free",
        area_code=row["area_code"],
        locality=row["locality"],
        division=row["division"],
        carrier=row["carrier"],
        owner=owner,
    )
