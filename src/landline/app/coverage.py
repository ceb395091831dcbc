"""Writes docs/reference/operations.md, which operations of the official SDKs are served:
`python -m landline.app.coverage > docs/reference/operations.md`."""

import sys
from collections.abc import Iterable

from landline.edge.gate import Gate
from landline.edge.routes import Route
from landline.edge.unserved import place
from landline.services.chat import api as chat_api
from landline.services.chat.messages import Messages
from landline.services.chat.realtime.api import RealTime
from landline.services.chat.service import Chat
from landline.services.identity import api as identity_api
from landline.services.identity.service import Identity
from landline.services.numbers import api as numbers_api
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.lookup import Lookup
from landline.services.numbers.purchases import Purchases
from landline.services.numbers.reservations import Reservations
from landline.services.relay import api as relay_api
from landline.services.relay.service import Relays
from landline.services.rooms import api as rooms_api
from landline.services.rooms.service import Rooms
from landline.services.siprouting import api as siprouting_api
from landline.services.siprouting.service import SipRouting
from landline.services.sms import api as sms_api
from landline.services.sms.opt_outs import OptOuts
from landline.services.sms.service import Sms
from landline.wire.operations import API_VERSIONS, SERVICES, USER_SERVICES

_HEAD = """# Operations

Made by `make docs` from `src/landline/wire/operations.py` and the routes of the services. Every operation that an
official SDK can call is listed. One that is not served answers 501 `NotImplemented`, once it is authenticated.

Each service knows the api-versions named with it, and tells them in `api-supported-versions`, as Azure does. What lies
between and beyond them is taken as well; an older one answers 400 `UnsupportedApiVersion`, none at all 400
`MissingApiVersionParameter`. [Which SDKs those are](sdks.md).

| service | served | of |
|---|---|---|
"""

_COLUMNS = "| operation | method and path | served |\n|---|---|---|\n"


def served() -> list[Route]:
    """The public routes of all services; they are listed here, not called, so the services behind them stay unmade."""
    return [
        *identity_api.routes(Identity.__new__(Identity), ""),
        *sms_api.routes(Sms.__new__(Sms), OptOuts.__new__(OptOuts)),
        *numbers_api.routes(
            Purchases.__new__(Purchases),
            Reservations.__new__(Reservations),
            Inventory.__new__(Inventory),
            Lookup.__new__(Lookup),
        ),
        *siprouting_api.routes(SipRouting.__new__(SipRouting)),
        *rooms_api.routes(Rooms.__new__(Rooms)),
        *relay_api.routes(Relays.__new__(Relays)),
        *chat_api.routes(Chat.__new__(Chat), Messages.__new__(Messages)),
        *RealTime.__new__(RealTime).routes(Gate()),
    ]


def document(routes: Iterable[Route]) -> str:
    """The whole page, `routes` being what is served."""
    there = {place(route.method, route.template) for route in routes}
    parts = [_HEAD]
    for service, operations in SERVICES.items():
        count = sum(place(operation.method, operation.template) in there for operation in operations)
        parts.append(f"| {service} | {count} | {len(operations)} |\n")
    for service, operations in SERVICES.items():
        proof = "a communication user's token" if service in USER_SERVICES else "an access key or a service token"
        parts.append(f"\n## {service}\n\nCalled with {proof}.\n\n{_versions(service)}{_COLUMNS}")
        for operation in operations:
            mark = "yes" if place(operation.method, operation.template) in there else "no"
            parts.append(f"| {operation.name} | `{operation.method} {operation.template}` | {mark} |\n")
    return "".join(parts)


def _versions(service: str) -> str:
    known = API_VERSIONS.get(service)
    return f"api-versions: {', '.join(known)}\n\n" if known else ""


if __name__ == "__main__":
    sys.stdout.write(document(served()))
