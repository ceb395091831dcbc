"""The admin routes of a resource's SMS settings: shown as they are in force, set whole or by merge patch."""

from collections.abc import Awaitable, Callable

from landline.core.ids import ResourceId
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Handler, Route
from landline.services.sms.model.settings import DOCUMENT
from landline.services.sms.settings import Settings

_PATH = "/resources/{name}/sms/settings"


def routes(settings: Settings, resolve: Callable[[str], Awaitable[ResourceId]]) -> list[Route]:
    """`resolve` finds a resource by its name and raises `NotFound`."""

    async def show(request: Request) -> Response:
        """What is in force for the resource, the product's defaults included."""
        return json_response(200, await settings.of(await resolve(request.params["name"])))

    async def put(request: Request) -> Response:
        """Set what the body says; everything it leaves out is as the product has it."""
        resource = await resolve(request.params["name"])
        return json_response(200, await settings.put(resource, request.decode(DOCUMENT)))

    async def patch(request: Request) -> Response:
        """Change what the body says (RFC 7396); null goes back to what the product has."""
        resource = await resolve(request.params["name"])
        return json_response(200, await settings.patch(resource, request.decode(DOCUMENT)))

    return [
        _route("GET", show, "SmsSettings_Get"),
        _route("PUT", put, "SmsSettings_Set"),
        _route("PATCH", patch, "SmsSettings_Update"),
    ]


def _route(method: str, handler: Handler, name: str) -> Route:
    return Route(method, _PATH, handler, access=Access.ADMIN, versioned=False, name=name)
