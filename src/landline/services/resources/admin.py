"""The admin port's routes of resources: create, list, show keys, rotate, and whose a connection string is."""

import base64
from collections.abc import Sequence
from datetime import datetime

import msgspec

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.resources import model
from landline.services.resources.model import AccessKey, Resource, Slot
from landline.services.resources.service import Resources
from landline.wire.base import Wire


class NewResource(Wire, forbid_unknown_fields=True):
    name: str


class ConnectionString(Wire, forbid_unknown_fields=True):
    connection_string: str


class ResourceShape(Wire):
    name: str
    resource_id: str
    location: str
    created_at: datetime


class KeysShape(Wire):
    primary_key: str
    secondary_key: str
    primary_connection_string: str
    secondary_connection_string: str


class KeyShape(Wire):
    slot: str
    generation: int
    key: str
    connection_string: str


_NEW = msgspec.json.Decoder(NewResource)
_CONNECTION_STRING = msgspec.json.Decoder(ConnectionString)
_NO_STORE = {"cache-control": "no-store"}


def routes(resources: Resources) -> list[Route]:
    """The operations on all resources."""
    admin = _Admin(resources)
    return [
        admin_route("GET", "/resources", admin.list, "Resources_List"),
        admin_route("POST", "/resources", admin.create, "Resources_Create"),
        admin_route("POST", "/resources:resolve", admin.resolve, "Resources_Resolve"),
        admin_route("GET", "/resources/{name}", admin.get, "Resources_Get"),
        admin_route("GET", "/resources/{name}/keys", admin.keys, "Resources_Keys"),
        admin_route("POST", "/resources/{name}/keys/{slot}:rotate", admin.rotate, "Resources_RotateKey"),
    ]


class _Admin:
    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def list(self, _request: Request) -> Response:
        """All communication resources."""
        return json_response(200, {"value": [_shape(resource) for resource in await self._resources.list_all()]})

    async def create(self, request: Request) -> Response:
        """Make a communication resource with two access keys."""
        resource = await self._resources.create(request.decode(_NEW).name)
        return json_response(201, _shape(resource))

    async def resolve(self, request: Request) -> Response:
        """The name of the resource that a connection string opens."""
        resource = await self._resources.resolve(request.decode(_CONNECTION_STRING).connection_string)
        return json_response(200, {"name": resource.name})

    async def get(self, request: Request) -> Response:
        """One communication resource."""
        return json_response(200, _shape(await self._resources.get(request.params["name"])))

    async def keys(self, request: Request) -> Response:
        """The access keys and connection strings of a resource."""
        return json_response(
            200, self._keys(request.params["name"], await self._resources.keys(request.params["name"])), _NO_STORE
        )

    async def rotate(self, request: Request) -> Response:
        """Replace one access key; user tokens made with the old one are revoked."""
        name = request.params["name"]
        key = await self._resources.rotate(name, model.slot(request.params["slot"]))
        shape = KeyShape(key.slot.value, key.generation, _text(key), self._resources.connection_string(name, key))
        return json_response(200, shape, _NO_STORE)

    def _keys(self, name: str, keys: Sequence[AccessKey]) -> KeysShape:
        by_slot = {key.slot: key for key in keys}
        primary, secondary = by_slot[Slot.PRIMARY], by_slot[Slot.SECONDARY]
        return KeysShape(
            _text(primary),
            _text(secondary),
            self._resources.connection_string(name, primary),
            self._resources.connection_string(name, secondary),
        )


def _text(key: AccessKey) -> str:
    return base64.b64encode(key.secret).decode()


def _shape(resource: Resource) -> ResourceShape:
    return ResourceShape(resource.name, str(resource.resource_id), resource.location, resource.created_at)
