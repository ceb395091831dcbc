"""The commands of the ways that texts go: `carrier`, `route`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from landline.app.cli_shared import (
    DEFAULT_RESOURCE,
    HERE,
    Json,
    Resource,
    Sender,
    Server,
    ask,
    print_json,
    show,
    toll_free,
)
from landline.core.errors import Refusal

_OF_A_ROUTE = {
    "name": "NAME",
    "carriers": "CARRIERS",
    "priority": "--priority",
    "countries": "--country",
    "prefixes": "--prefix",
    "senders": "--sender",
    "tags": "--tag",
    "resources": "--resource",
}
carrier = App(name="carrier", help="The carriers, and whether they are up.")
route = App(name="route", help="The rules by which texts find their carrier.")


def add_to(app: App) -> None:
    """Add these commands."""
    for group in (carrier, route):
        app.command(group)


@carrier.command(name="list")
def list_carriers(*, json: Json = False, server: Server = HERE) -> None:
    """List the carriers, the processes that have their binds, and what keeps a bind down."""
    found = ask(server).get("sms", "carriers")["value"]
    rows = [{**each, **_binds(each)} for each in found]
    show(found if json else rows, ("name", "kind", "up", "address", "binds", "processes", "trouble"), json)


@route.command(name="list")
def list_routes(*, json: Json = False, server: Server = HERE) -> None:
    """List the rules in force, in the order they are looked at."""
    found = ask(server).get("sms", "routes")["value"]
    lists = ("countries", "prefixes", "senders", "tags", "resources")
    rows = [
        {
            **each,
            **{name: " ".join(each[name]) or None for name in lists},
            "carriers": " ".join(f"{one['carrier']}:{one['weight']}" for one in each["carriers"]),
            "failover": "yes" if each["failover"] else "no",
        }
        for each in found
    ]
    show(found if json else rows, ("name", "priority", *lists, "carriers", "choose", "failover", "origin"), json)


@route.command(name="set")
def set_route(
    name: str,
    *carriers: str,
    country: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    prefix: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    sender: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    resource: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    priority: int = 100,
    failover: bool = True,
    choose: Literal["weight", "cheapest"] = "weight",
    server: Server = HERE,
) -> None:
    """Set a rule, in place of one of that name. It is in force at once.

    Parameters
    ----------
    carriers
        The carriers of its texts, each as its name, or name:weight.
    country
        Only texts to this country; this and the following may be given several times.
    prefix
        Only texts to numbers that begin so.
    sender
        Only texts from this number or name.
    tag
        Only texts with this tag.
    resource
        Only texts of this resource.
    priority
        Rules of lower priorities are looked at first.
    failover
        Whether another of its carriers takes over when one is down.
    choose
        Which carrier is first: by their weights, or the one that charges least for the number.
    """
    conditions = {"countries": country, "prefixes": prefix, "senders": sender, "tags": tag, "resources": resource}
    body = {"carriers": [_weighted(each) for each in carriers], "priority": priority}
    body |= {"failover": failover, "choose": choose}
    client = ask(server, _OF_A_ROUTE)
    client.call("PUT", _route_path(name), {**body, **conditions})
    print(f"{name} is in force")


@route.command(name="remove")
def remove_route(name: str, *, server: Server = HERE) -> None:
    """Remove a rule that was set here; one of the configuration that it stood in for is in force again."""
    ask(server, _OF_A_ROUTE).call("DELETE", _route_path(name))
    print(f"{name} is in force no more")


@route.command(name="test")
def try_route(
    to: str,
    *,
    from_: Sender = None,
    tag: str | None = None,
    resource: Resource = DEFAULT_RESOURCE,
    json: Json = False,
    server: Server = HERE,
) -> None:
    """Print which way a text would go, and why; nothing is sent.

    Parameters
    ----------
    from_
        The number or name it would come from. Default: the server's toll-free number.
    tag
        The campaign it would belong to.
    """
    client = ask(server, {"from": "--from", "to": "TO", "tag": "--tag", "resource": "--resource"})
    body = {"resource": resource, "from": from_ or toll_free(client), "to": to}
    found = client.call("POST", "/sms/routes:test", body if tag is None else {**body, "tag": tag})
    if json:
        print_json(found)
        return
    ways = [f"{each['carrier']}{'' if each['up'] else ' (down)'}" for each in found["carriers"]]
    print(f"{to} ({found['country']}) goes by {', then '.join(ways) or 'no carrier'}")
    print(f"as says the rule {found['rule']}" if found["rule"] else "as no rule matches")
    if not found["senderOwned"]:
        print(f"but {resource} has no number {body['from']}: it may not send from it")
    for each in found["looked"]:
        if each["passedOver"]:
            print(f"  {each['rule']}: {each['passedOver']}")


def _route_path(name: str) -> str:
    from landline.app.admin_client import quoted

    return quoted("sms", "routes", name)


def _weighted(text: str) -> dict[str, object]:
    *before, last = text.split(":")
    carrier, weight = (":".join(before), last) if before else (last, "1")
    if not (carrier and weight.isascii() and weight.isdigit()):
        raise Refusal(f"{text} is not a carrier's name, or name:weight")
    return {"carrier": carrier, "weight": int(weight)}


def _binds(carrier: dict[str, Any]) -> dict[str, object]:
    troubles = {each["trouble"] for each in carrier.get("links", ()) if "trouble" in each}
    if carrier["kind"] == "removed":
        troubles.add(f"{carrier['waiting']} texts wait, no server has it")
    return {
        "up": "yes" if carrier["up"] else "no",
        "processes": len(carrier["processes"]) if "processes" in carrier else None,
        "trouble": "; ".join(sorted(troubles)) or None,
    }
