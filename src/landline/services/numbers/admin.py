"""Admin routes of the number inventory."""

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import msgspec

from landline.core.errors import Invalid
from landline.core.ids import ResourceNamed
from landline.core.phone import SenderKind
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.numbers.model import Directions, OwnedNumber
from landline.services.numbers.service import Numbers
from landline.wire.numbers import Number, NumberToAdd, PhoneNumberCapabilities

ADD = msgspec.json.Decoder(NumberToAdd)
E = TypeVar("E", bound=Enum)


def routes(numbers: Numbers, resource_named: ResourceNamed, check_carrier: Callable[[str], None]) -> list[Route]:
    """The admin operations; `check_carrier` raises `Invalid` for the name of no carrier."""

    async def show(request: Request) -> Response:
        """The numbers and sender names of a resource."""
        owned = await numbers.list(await resource_named(request.params["name"]))
        return json_response(200, {"value": [_number(number) for number in owned]})

    async def add(request: Request) -> Response:
        """Give a resource a number, a short code or a sender name."""
        body = request.decode(ADD)
        if body.carrier:
            check_carrier(body.carrier)
        resource = await resource_named(request.params["name"])
        capabilities = body.capabilities or PhoneNumberCapabilities()
        owned = await numbers.add(
            resource,
            body.number,
            kind=_one_of(SenderKind, body.kind, "kind"),
            sms=_one_of(Directions, capabilities.sms, "capabilities.sms"),
            calling=_one_of(Directions, capabilities.calling, "capabilities.calling"),
            carrier=body.carrier,
        )
        return json_response(201, _number(owned))

    async def remove(request: Request) -> Response:
        """Take a number or sender name away from a resource."""
        await numbers.remove(await resource_named(request.params["name"]), request.params["number"])
        return Response(204)

    collection, member = "/resources/{name}/numbers", "/resources/{name}/numbers/{number}"
    return [
        admin_route("GET", collection, show, "Numbers_List"),
        admin_route("POST", collection, add, "Numbers_Add"),
        admin_route("DELETE", member, remove, "Numbers_Remove"),
    ]


def _number(owned: OwnedNumber) -> Number:
    capabilities = PhoneNumberCapabilities(calling=owned.calling.value, sms=owned.sms.value)
    return Number(owned.number, owned.kind.value, capabilities, owned.carrier)


def _one_of(kind: type[E], value: str | None, target: str) -> E | None:
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise Invalid(f"Must be one of: {known}.", target=target) from None
