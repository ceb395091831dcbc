"""What the table of operations says of this server's routes: which api-versions the served ones know; and honest
answers for those it does not serve: 501, after authentication."""

import re
from collections.abc import Iterable
from dataclasses import replace

from landline.core.errors import NotServed
from landline.edge.http import Request, Response
from landline.edge.routes import Access, ErrorStyle, Handler, Route
from landline.wire.operations import API_VERSIONS, PROBLEM_SERVICES, SERVICES, USER_SERVICES

_PARAMETER = re.compile(r"\{[^}]*\}")


def unserved(served: Iterable[Route]) -> list[Route]:
    """A route for every operation of `wire.operations` that `served` has none for."""
    taken = {place(route.method, route.template) for route in served}
    return [
        Route(
            operation.method,
            operation.template,
            _refuse(service, operation.name),
            access=Access.USER if service in USER_SERVICES else Access.SERVICE,
            errors=ErrorStyle.SMS if service in PROBLEM_SERVICES else ErrorStyle.ACS,
            name=operation.name,
        )
        for service, operations in SERVICES.items()
        for operation in operations
        if place(operation.method, operation.template) not in taken
    ]


def versioned(served: Iterable[Route]) -> list[Route]:
    """`served`, those of `wire.operations` with the api-versions of their service."""
    known = {
        place(operation.method, operation.template.lower()): ", ".join(API_VERSIONS[service])
        for service, operations in SERVICES.items()
        for operation in operations
        if service in API_VERSIONS
    }
    return [replace(route, supports=known.get(place(route.method, route.template.lower()), "")) for route in served]


def place(method: str, template: str) -> tuple[str, str]:
    """Where an operation is, whatever its parameters are called."""
    return method, _PARAMETER.sub("{}", template)


def _refuse(service: str, name: str) -> Handler:
    async def handler(_request: Request) -> Response:
        raise NotServed(f"{service}: this server does not serve {name} yet.", target=name)

    return handler
