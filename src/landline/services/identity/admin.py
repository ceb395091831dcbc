"""The admin port's routes of identity: a new signing key for user tokens."""

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.identity.service import Identity


def routes(identity: Identity) -> list[Route]:
    async def rotate(_request: Request) -> Response:
        """Sign user tokens with a new key from now on; tokens in circulation stay good."""
        return json_response(200, {"kid": await identity.rotate_signing_key()})

    template = "/identity/signing-keys:rotate"
    return [admin_route("POST", template, rotate, "Identity_RotateSigningKey")]
