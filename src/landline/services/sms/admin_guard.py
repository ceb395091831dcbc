"""The admin routes of a resource's SMS settings: shown as they are in force, set whole or by merge patch."""

from landline.core.ids import ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms.model.settings import DOCUMENT
from landline.services.sms.settings import Settings

_PATH = "/resources/{name}/sms/settings"


def routes(settings: Settings, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""

    async def show(request: Request) -> Response:
        """What is in force for the resource, the product's defaults included."""
        return json_response(200, await settings.of(await resource_named(request.params["name"])))

    async def put(request: Request) -> Response:
        """Set what the body says; everything it leaves out is as the product has it."""
        resource = await resource_named(request.params["name"])
        return json_response(200, await settings.put(resource, request.decode(DOCUMENT)))

    async def patch(request: Request) -> Response:
        """Change what the body says (RFC 7396); null goes back to what the product has."""
        resource = await resource_named(request.params["name"])
        return json_response(200, await settings.patch(resource, request.decode(DOCUMENT)))

    return [
        admin_route("GET", _PATH, show, "SmsSettings_Get"),
        admin_route("PUT", _PATH, put, "SmsSettings_Set"),
        admin_route("PATCH", _PATH, patch, "SmsSettings_Update"),
    ]
