"""How the carriers are at this moment, for operators: `GET /sms/carriers`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.leases import Holder, holders
from landline.engines.smpp.link import Link
from landline.ports.clock import Clock
from landline.ports.sms_carrier import SmsCarrier
from landline.store.database import Database

Shown = dict[str, object]


def routes(
    carriers: Mapping[str, SmsCarrier],
    waiting: Callable[[], Awaitable[Mapping[str, int]]],
    database: Database,
    clock: Clock,
    owner: UUID,
) -> list[Route]:
    """`owner` is this process, whose `carriers` these are; `waiting` counts what waits for such as no process has."""

    async def list_carriers(_request: Request) -> Response:
        """The carriers, which processes have their binds, and what keeps binds of the answering one from being up;
        those that messages wait for and no process has."""
        held = await holders(database, clock.now())
        shown: list[Shown] = []
        for name, carrier in carriers.items():
            if isinstance(carrier, SmppCarrier):
                shown.append(_smpp(carrier, [each for each in held if each.carrier == name], owner))
            else:
                shown.append({"name": name, "kind": "simulated", "up": carrier.up})
        removed = await waiting()
        for name, count in removed.items():
            shown.append({"name": name, "kind": "removed", "up": False, "waiting": count})
        return json_response(200, {"value": shown})

    return [
        admin_route("GET", "/sms/carriers", list_carriers, "Carriers_List"),
    ]


def _smpp(carrier: SmppCarrier, held: Sequence[Holder], owner: UUID) -> Shown:
    config = carrier.config
    if not held and carrier.links:  # it shares them with nobody
        held = [Holder(config.name, owner, config.binds, carrier.up)]
    return {
        "name": config.name,
        "kind": "smpp",
        "up": carrier.up,
        "address": f"{config.host}:{config.port}",
        "tls": config.tls is not None,
        "systemId": config.system_id,
        "binds": config.binds,
        "window": config.window,
        "processes": [{"id": str(each.owner), "binds": each.binds, "up": each.up} for each in held],
        "links": [_link(link) for link in carrier.links],
    }


def _link(link: Link) -> Shown:
    session = link.session
    return {
        "name": link.name,
        "bound": session is not None,
        "inFlight": 0 if session is None else session.in_flight,
        **({} if session is not None or link.trouble is None else {"trouble": link.trouble}),
    }
