"""The commands of who looks after traffic: `message`, `insights`."""

from __future__ import annotations

from dataclasses import dataclass
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
    check_limit,
    encoded,
    pages_of,
    print_json,
    resource_path,
    show,
    toll_free,
)
from landline.app.one_line import on_one_line
from landline.core.errors import Refusal

_MOST_OF_A_PAGE = 1000
_COUNTS = ("accepted", "delivered", "failed", "pending", "deliveryRate", "p50", "p99", "replies", "responseRate")
_OPT_OUTS = ("optOuts", "optOutRate")
_OF_A_STEP = ("at", "what")
_MESSAGE = {"messageId": "MESSAGE-ID"}
_NO_CARRIER = "(none)"
"""As it is asked for."""
_SELECTING = {each: f"--{each}" for each in ("from", "to", "tag", "carrier", "state", "code", "since", "until", "by")}

message = App(name="message", help="Texts: send one, find some, see what became of them, take them back.")

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
    app.command(message)
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
    check_limit(limit)
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
        rows = client.text(f"{path}?{encoded({**query, 'format': 'csv'})}").split("\r\n")
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


def _step(step: dict[str, Any]) -> dict[str, object]:
    particulars = {name: value for name, value in step.items() if name not in _OF_A_STEP and value not in (None, "")}
    return {**step, "particulars": "  ".join(f"{name}: {value}" for name, value in particulars.items())}


def _figures(group: dict[str, Any]) -> dict[str, object]:
    return {**group, **group.get("deliverySeconds", {}), "tag": group.get("tag", "")}
