"""The admin route that erases what is stored of a phone's number: `POST /resources/{name}/messages:erase`."""

from collections.abc import Awaitable, Callable

import msgspec

from landline.core.ids import ResourceId
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms.erasing import Erasing
from landline.wire import messages as wire

_TO_ERASE = msgspec.json.Decoder(wire.NumberToErase)


def routes(erasing: Erasing, resolve: Callable[[str], Awaitable[ResourceId]]) -> list[Route]:
    """`resolve` finds a resource by its name and raises `NotFound`."""

    async def erase(request: Request) -> Response:
        """Erase texts to and from a phone, and the events about them; in portions."""
        resource = await resolve(request.params["name"])
        asked = request.decode(_TO_ERASE)
        done = await erasing.erase(resource, asked.number, asked.after)
        left = [wire.MessageLeft(each.message_id, each.state) for each in done.left]
        return json_response(
            200, wire.ErasedNumber(done.outgoing, done.incoming, done.events, done.waiting, left, done.after)
        )

    return [admin_route("POST", "/resources/{name}/messages:erase", erase, "Messages_Erase")]
