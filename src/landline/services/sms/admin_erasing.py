"""The admin route that erases what is stored of a phone's number: `POST /resources/{name}/messages:erase`."""

import msgspec

from landline.core.ids import ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms.erasing import Erasing
from landline.wire import messages as wire

_TO_ERASE = msgspec.json.Decoder(wire.NumberToErase)


def routes(erasing: Erasing, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""

    async def erase(request: Request) -> Response:
        """Erase texts to and from a phone, and the events about them; in portions."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_TO_ERASE)
        done = await erasing.erase(resource, asked.number, asked.after)
        left = [wire.MessageLeft(each.message_id, each.state) for each in done.left]
        return json_response(
            200, wire.ErasedNumber(done.outgoing, done.incoming, done.events, done.waiting, left, done.after)
        )

    return [admin_route("POST", "/resources/{name}/messages:erase", erase, "Messages_Erase")]
