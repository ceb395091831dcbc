"""The admin routes of opt-outs: list them, enter those that were given elsewhere, lift them."""

import msgspec

from landline.core.ids import ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms import opt_outs
from landline.services.sms.opt_outs import OptOuts
from landline.wire import opt_outs as wire
from landline.wire.base import timestamp

_TO_ENTER = msgspec.json.Decoder(wire.OptOutsToEnter)
_TO_LIFT = msgspec.json.Decoder(wire.OptOutsToLift)
_PATH = "/resources/{name}/opt-outs"


def routes(kept: OptOuts, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""

    async def show(request: Request) -> Response:
        """Opt-outs in the order of their numbers, by number, phone and time."""
        resource = await resource_named(request.params["name"])
        page = await kept.page(resource, opt_outs.read(request.query, resource))
        shown = [wire.OptOut(row["sender"], row["recipient"], timestamp(row["at"]), row["origin"]) for row in page.rows]
        return json_response(200, wire.OptOuts(shown, page.token))

    async def enter(request: Request) -> Response:
        """Opt-outs that were given elsewhere: all of them, or none when one cannot be."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_TO_ENTER).value
        entered = await kept.enter(resource, [(each.from_, each.to, each.at) for each in asked])
        return json_response(200, wire.EnteredOptOuts(entered))

    async def lift(request: Request) -> Response:
        """Texts are sent to these phones again: all of them, or none when one cannot be."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_TO_LIFT).value
        return json_response(200, wire.LiftedOptOuts(await kept.lift(resource, [(e.from_, e.to) for e in asked])))

    return [
        admin_route("GET", _PATH, show, "OptOuts_List"),
        admin_route("POST", _PATH, enter, "OptOuts_Enter"),
        admin_route("POST", f"{_PATH}:remove", lift, "OptOuts_Lift"),
    ]
