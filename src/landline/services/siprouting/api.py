"""The public operations of SIP routing (acs-wire.md 6): read the configuration, merge-patch it."""

import msgspec
from msgspec import UNSET

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route as HttpRoute
from landline.services.siprouting.model import Configuration, Patch, Route
from landline.services.siprouting.service import SipRouting
from landline.wire.sip import SipConfiguration, SipConfigurationUpdate, SipTrunk, SipTrunkRoute, TrunkUpdate

_UPDATE = msgspec.json.Decoder(SipConfigurationUpdate)


def routes(sip_routing: SipRouting) -> list[HttpRoute]:
    async def get(request: Request) -> Response:
        return json_response(200, _shape(await sip_routing.get(request.caller.resource)))

    async def update(request: Request) -> Response:
        patch = _patch(request.decode(_UPDATE))
        return json_response(200, _shape(await sip_routing.patch(request.caller.resource, patch)))

    return [
        HttpRoute("GET", "/sip", get, name="sipRouting_get"),
        HttpRoute("PATCH", "/sip", update, name="sipRouting_update"),
    ]


def route_shape(route: Route) -> SipTrunkRoute:
    """A route as the wire has it."""
    return SipTrunkRoute(route.name, route.pattern, route.description, list(route.trunks))


def _shape(configuration: Configuration) -> SipConfiguration:
    return SipConfiguration(
        {fqdn: SipTrunk(port) for fqdn, port in configuration.trunks.items()},
        [route_shape(route) for route in configuration.routes],
    )


def _patch(update: SipConfigurationUpdate) -> Patch:
    set_trunks: dict[str, int | None] = {}
    dropped: set[str] = set()
    trunks = {} if update.trunks is UNSET or update.trunks is None else update.trunks
    for fqdn, trunk in trunks.items():
        if trunk is None:
            dropped.add(fqdn)
        else:
            set_trunks[fqdn] = _port(trunk)
    return Patch(
        set_trunks,
        frozenset(dropped),
        update.trunks is None,
        None if update.routes is UNSET else tuple(_route(route) for route in update.routes or ()),
    )


def _port(trunk: TrunkUpdate) -> int | None:
    return None if trunk.sip_signaling_port is UNSET else trunk.sip_signaling_port


def _route(route: SipTrunkRoute) -> Route:
    return Route(route.name, route.number_pattern, route.description, tuple(route.trunks or ()))
