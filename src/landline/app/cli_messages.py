"""The commands of who looks after traffic: `message`, `insights`, `carrier`, `route`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

from cyclopts import App, Parameter

from landline.app.cli_admin import (
    DEFAULT_RESOURCE,
    HERE,
    Json,
    Resource,
    Server,
    ask,
    print_json,
    resource_path,
    show,
    toll_free,
)
from landline.app.one_line import on_one_line
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from landline.app.admin_client import AdminClient

_MOST_OF_A_PAGE = 1000
_COUNTS = ("accepted", "delivered", "failed", "pending", "deliveryRate", "p50", "p99", "replies", "responseRate")
_OPT_OUTS = ("optOuts", "optOutRate")
_OF_A_STEP = ("at", "what")
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
_MESSAGE = {"messageId": "MESSAGE-ID"}
_NO_CARRIER = "(none)"
"""As it is asked for."""
_SELECTING = {each: f"--{each}" for each in ("from", "to", "tag", "carrier", "state", "code", "since", "until", "by")}

message = App(name="message", help="Texts: send one, find some, see what became of them, take them back.")
carrier = App(name="carrier", help="The carriers, and whether they are up.")
route = App(name="route", help="The rules by which texts find their carrier.")

Sender = Annotated[str | None, Parameter(name="--from", help="The number or name that texts come from.")]
Recipient = Annotated[str | None, Parameter(help="The number that texts go to.")]
Tag = Annotated[str | None, Parameter(help='Only texts with this tag; "" for those without.')]
OfCarrier = Annotated[str | None, Parameter(name="--carrier", help="Only texts of this carrier.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Range:
    """A time. Default: the last 24 hours."""

    since: str | None = None
    """Begin here: an ISO 8601 date or instant."""
    until: str | None = None
    """End before this."""


LAST_DAY = Range()


def add_to(app: App) -> None:
    """Add these commands."""
    for group in (message, carrier, route):
        app.command(group)
    app.command(insights)


@message.command(name="send")
def send_message(
    to: str,
    text: str,
    *,
    from_: Sender = None,
    tag: str | None = None,
    at: str | None = None,
    resource: Resource = DEFAULT_RESOURCE,
    server: Server = HERE,
) -> None:
    """Send a text, and print its id.

    Parameters
    ----------
    from_
        The number or name it comes from, or `pool:` and a pool's name. Default: the server's toll-free number.
    tag
        The campaign it belongs to.
    at
        When to send it: an ISO 8601 instant.
    """
    client = ask(server, {"from": "--from", "to": "TO", "message": "TEXT", "tag": "--tag", "sendAt": "--at"})
    body = {"from": from_ or toll_free(client), "to": [to], "message": text, "tag": tag, "sendAt": at}
    given = {name: value for name, value in body.items() if value is not None}
    [sent] = client.call("POST", f"{resource_path(resource)}/messages", given)["value"]
    if not sent["successful"]:
        raise Refusal(f"{to}: {sent['errorMessage']}")
    print(f"accepted as {sent['messageId']}")


@message.command(name="list")
def list_messages(
    *,
    to: Recipient = None,
    from_: Sender = None,
    tag: Tag = None,
    carrier: OfCarrier = None,
    state: Literal["queued", "submitted", "delivered", "failed"] | None = None,
    code: int | None = None,
    incoming: Annotated[bool, Parameter(negative=())] = False,
    time: Range = LAST_DAY,
    limit: int = 100,
    resource: Resource = DEFAULT_RESOURCE,
    json: Json = False,
    server: Server = HERE,
) -> None:
    """List texts, the newest first. What they say is not shown.

    Parameters
    ----------
    state
        Only those that stand there.
    code
        Only those that ended with this detail code, such as 4006.
    incoming
        Texts from phones instead.
    limit
        How many at most.
    """
    if limit < 1:
        raise Refusal("--limit must be at least 1")
    query = {"to": to, "from": from_, "tag": tag, "carrier": carrier, "state": state, "code": code}
    query |= {"direction": "incoming" if incoming else None, "since": time.since, "until": time.until}
    pages = pages_of(ask(server, _SELECTING), f"{resource_path(resource)}/messages", query, min(limit, _MOST_OF_A_PAGE))
    found: list[dict[str, Any]] = []
    for page in pages:
        found += page["value"]
        if len(found) >= limit:
            break
    at = "receivedAt" if incoming else "acceptedAt"
    if not json:
        found = [{**each, "carrier": each["carrier"] or _NO_CARRIER} for each in found]
    show(found[:limit], (at, "messageId", "from", "to", "state", "code", "carrier", "tag"), json)


@message.command(name="show")
def show_message(message_id: str, *, json: Json = False, server: Server = HERE) -> None:
    """Print what became of a text, step by step.

    Parameters
    ----------
    message_id
        Its id, as the SDK, a list or an event has it.
    """
    told = ask(server, _MESSAGE).get("messages", message_id, "timeline")
    if json:
        print_json(told)
        return
    steps = told.pop("steps")
    print("  ".join(f"{name}: {on_one_line(value)}" for name, value in told.items() if value is not None))
    show([_step(step) for step in steps], (*_OF_A_STEP, "particulars"), as_json=False)


@message.command(name="cancel")
def cancel_message(message_id: str, *, server: Server = HERE) -> None:
    """Take back a text that no carrier has yet."""
    from landline.app.admin_client import quoted

    ask(server, _MESSAGE).call("DELETE", quoted("messages", message_id))
    print(f"{message_id} is taken back")


def insights(
    *,
    by: Annotated[str, Parameter(help="number, tag, country, carrier, hour, day; several parted by commas.")] = "",
    number: Annotated[str | None, Parameter(help="Only texts from this number or name.")] = None,
    tag: Tag = None,
    country: Annotated[str | None, Parameter(help="Only texts to this country, such as US.")] = None,
    carrier: OfCarrier = None,
    time: Range = LAST_DAY,
    csv: Annotated[bool, Parameter(negative=(), help="Print CSV with all columns.")] = False,
    resource: Resource = DEFAULT_RESOURCE,
    json: Json = False,
    server: Server = HERE,
) -> None:
    """Print deliverability, delivery times, replies, opt-outs and cost."""
    if csv and json:
        raise Refusal("give --json or --csv")
    query = {"by": by or None, "number": number, "tag": tag, "country": country, "carrier": carrier}
    query |= {"from": time.since, "to": time.until}
    typed = {**_SELECTING, "from": "--since", "to": "--until", "number": "--number", "country": "--country"}
    client, path = ask(server, typed), f"{resource_path(resource)}/insights"
    if csv:
        rows = client.text(f"{path}?{_encoded({**query, 'format': 'csv'})}").split("\r\n")
        print("\r\n".join(map(on_one_line, rows)), end="")
        return
    pages = list(pages_of(client, path, query, _MOST_OF_A_PAGE))
    groups = [group for page in pages for group in page["value"]]
    totals = pages[-1]["totals"]
    if json:
        currency = {"currency": pages[-1]["currency"]} if "currency" in pages[-1] else {}
        print_json({"value": groups, "totals": totals, **currency})
        return
    names = tuple(name.strip() for name in by.split(",") if name.strip())
    first = names[0] if names else "total"
    rows = [*(_figures(group) for group in groups if names), {**_figures(totals), first: "all"}]
    cost = ("cost",) if "cost" in totals else ()
    show(rows, (*(names or (first,)), *_COUNTS, *_OPT_OUTS, *cost), as_json=False)


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


def pages_of(client: AdminClient, path: str, query: Mapping[str, object], size: int) -> Iterator[Any]:
    """The answers, each where the one before it ended."""
    token = None
    while True:
        asked = {**query, "pageSize": size} if token is None else {"continuationToken": token, "pageSize": size}
        page = client.call("GET", f"{path}?{_encoded(asked)}")
        yield page
        token = page.get("continuationToken")
        if token is None:
            return


def _encoded(query: Mapping[str, object]) -> str:
    return urlencode({name: value for name, value in query.items() if value is not None})


def _step(step: dict[str, Any]) -> dict[str, object]:
    particulars = {name: value for name, value in step.items() if name not in _OF_A_STEP and value not in (None, "")}
    return {**step, "particulars": "  ".join(f"{name}: {value}" for name, value in particulars.items())}


def _figures(group: dict[str, Any]) -> dict[str, object]:
    return {**group, **group.get("deliverySeconds", {}), "tag": group.get("tag", "")}


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
