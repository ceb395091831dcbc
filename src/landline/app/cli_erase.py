"""The command `erase`: what is stored of a phone's number, as laws of privacy have people ask for."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from cyclopts import App, Parameter

from landline.app.cli_shared import HERE, Server, ask, print_json, resource_path
from landline.core import phone
from landline.core.errors import Refusal

_TYPED = {"number": "NUMBER"}
_COUNTED = ("outgoing", "incoming", "events", "waiting")


def add_to(app: App) -> None:
    """Add this command."""
    app.command(erase)


def erase(
    number: str,
    *,
    resource: Annotated[str | None, Parameter(help="Only of this communication resource. Default: of all.")] = None,
    json: Annotated[bool, Parameter(name="--json", negative=(), help="Print the figures as JSON.")] = False,
    server: Server = HERE,
) -> int:
    """Erase the texts to and from a phone, or from a short code or a name, and the events about them, for good.
    Opt-outs stay. Ends with status 1 while something is left that is still on its way.

    Parameters
    ----------
    number
        The phone's number in E.164 format, or a short code or name that texted, as `message list --incoming` shows it.
    """
    client = ask(server, _TYPED)
    names = [resource] if resource is not None else [each["name"] for each in client.get("resources")["value"]]
    counts, left = Counter[str](), list[dict[str, Any]]()
    for name in names:
        asked: dict[str, str] = {"number": number}
        while True:
            done = client.call("POST", f"{resource_path(name)}/messages:erase", asked)
            counts.update({each: done[each] for each in _COUNTED})
            left += [{**each, "resource": name} for each in done["left"]]
            if done.get("after") is None:
                break
            asked["after"] = done["after"]
    if not left and not counts.total() and (meant := _phone(number)) is not None:
        raise Refusal(f"NUMBER: nothing is stored of {number}: phone numbers are written like {meant}")
    if json:
        print_json({**{each: counts[each] for each in _COUNTED}, "left": left})
    else:
        print(
            f"erased: {counts['outgoing']} texts to {number}, {counts['incoming']} from it, {counts['events']} events,"
            f" {counts['waiting']} that waited for SMPP accounts"
        )
        for each in left:
            print(f"left: {each['messageId']} of {each['resource']} ({each['state']})")
        if left:
            print("What is left is with a carrier, or was told to webhooks a moment ago: erase again later.")
    return 1 if left else 0


def _phone(number: str) -> str | None:
    """The phone number that `number` was perhaps meant to be, which it is not as it is written."""
    meant = "+" + "".join(filter(str.isdecimal, number))
    return meant if meant != number and phone.parse(meant) is not None else None
