"""The router: raw path splitting, `%2F` inside ids, `:verb` suffixes, and which methods a path has."""

import pytest

from landline.core.errors import NotFound
from landline.edge.http import Request, Response
from landline.edge.routes import MethodNotAllowed, Route, Router


async def handler(_request: Request) -> Response:
    return Response(200)


def router(*templates: str) -> Router:
    found = []
    for entry in templates:
        method, _, template = entry.partition(" ")
        found.append(Route(method, template, handler))
    return Router(found)


ROUTES = router(
    "POST /identities",
    "DELETE /identities/{id}",
    "POST /identities/{id}/:issueAccessToken",
    "POST /sms",
    "POST /sms/optouts:add",
    "POST /sms/optouts:remove",
    "GET /calling/callConnections/{id}",
    "POST /calling/callConnections/{id}:play",
    "POST /calling/callConnections:answer",
    "GET /phoneNumbers/operations/{operationId}",
    "GET /phoneNumbers/{phoneNumber}",
    "PATCH /phoneNumbers/{phoneNumber}/capabilities",
)


@pytest.mark.parametrize(
    ("method", "path", "template", "params"),
    [
        ("POST", "/identities", "/identities", {}),
        ("DELETE", "/identities/8%3Aacs%3Aa_b", "/identities/{id}", {"id": "8:acs:a_b"}),
        ("DELETE", "/identities/8:acs:a_b", "/identities/{id}", {"id": "8:acs:a_b"}),
        ("DELETE", "/identities/a%2Fb", "/identities/{id}", {"id": "a/b"}),
        ("POST", "/identities/a%2F:b/:issueAccessToken", "/identities/{id}/:issueAccessToken", {"id": "a/:b"}),
        ("POST", "/sms/optouts:add", "/sms/optouts:add", {}),
        ("POST", "/sms/optouts%3Aadd", "/sms/optouts:add", {}),
        ("GET", "/calling/callConnections/a:b", "/calling/callConnections/{id}", {"id": "a:b"}),
        ("POST", "/calling/callConnections/a:b:play", "/calling/callConnections/{id}:play", {"id": "a:b"}),
        ("GET", "/phoneNumbers/operations/x", "/phoneNumbers/operations/{operationId}", {"operationId": "x"}),
        ("GET", "/phoneNumbers/%2B1800", "/phoneNumbers/{phoneNumber}", {"phoneNumber": "+1800"}),
        (
            "PATCH",
            "/phoneNumbers/operations/capabilities",
            "/phoneNumbers/{phoneNumber}/capabilities",
            {"phoneNumber": "operations"},
        ),
    ],
)
def test_a_request_finds_its_route(method: str, path: str, template: str, params: dict[str, str]) -> None:
    route, found = ROUTES.find(method, path)
    assert (route.template, found) == (template, params)


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/identities/", "/identities/a/b/c", "//identities", "/sms/optouts:"]
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        ROUTES.find("POST", path)


def test_a_known_path_tells_its_methods() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTES.find("PUT", "/identities")
    assert caught.value.allowed == ["POST"]
