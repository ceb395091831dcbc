"""Admin route of SIP routing: a test call, which says what a dialled number would do."""

import msgspec

from landline.core.ids import ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.siprouting.model import Configuration
from landline.services.siprouting.model import Route as CallRoute
from landline.services.siprouting.service import SipRouting
from landline.wire.base import Wire


class TestCall(Wire, forbid_unknown_fields=True):
    number: str
    alternate_caller_id: str | None = None


class TrunkShape(Wire):
    fqdn: str
    sip_signaling_port: int


class RouteShape(Wire):
    name: str
    number_pattern: str
    trunks: list[TrunkShape]


class TestCallResult(Wire, omit_defaults=False):
    """`route` is tried first, then the others of `matching_routes` in their order, then the owned caller id's carrier
    if `fallback` is true; otherwise the call fails."""

    number: str
    route: str | None
    matching_routes: list[RouteShape]
    fallback: bool


_CALL = msgspec.json.Decoder(TestCall)


def routes(sip_routing: SipRouting, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""

    async def test(request: Request) -> Response:
        """Which routes and trunks a call to a number would take; none is placed."""
        call = request.decode(_CALL)
        resource = await resource_named(request.params["name"])
        plan = await sip_routing.plan(resource, call.number, call.alternate_caller_id)
        matching = [_shape(route, plan.configuration) for route in plan.routes]
        first = matching[0].name if matching else None
        return json_response(200, TestCallResult(call.number, first, matching, plan.fallback))

    place = "/resources/{name}/sip/routes:test"
    return [admin_route("POST", place, test, "SipRouting_TestCall")]


def _shape(route: CallRoute, configuration: Configuration) -> RouteShape:
    return RouteShape(
        route.name, route.pattern, [TrunkShape(fqdn, configuration.trunks[fqdn]) for fqdn in route.trunks]
    )
