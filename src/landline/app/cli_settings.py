"""The commands of what a resource's texts go by: `settings` (limits, countries, defaults), `campaign`, `pool`,
`keywords`."""

from __future__ import annotations

import json as jsonlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import App, Parameter

from landline.app.cli_shared import (
    DEFAULT_RESOURCE,
    HERE,
    AlwaysJson,
    File,
    Json,
    Resource,
    Server,
    ask,
    assignment,
    print_json,
    resource_path,
    show,
    text_of,
)
from landline.app.one_line import on_one_line
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from landline.app.admin_client import AdminClient

_LISTS = ("allowedCountries", "messagingConnectPartners")

settings = App(name="settings", help="A resource's SMS settings: countries, caps, velocity, defaults.")
campaign = App(name="campaign", help="Halt a campaign, all texts of which have one tag, and have it go on.")
pool = App(name="pool", help="A resource's sender pools.")
keywords = App(name="keywords", help="The keywords a number answers to, and its replies.")


def add_to(app: App) -> None:
    """Add these commands."""
    for group in (settings, campaign, pool, keywords):
        app.command(group)


@settings.command(name="show")
def show_settings(*, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE) -> None:
    """Print what is in force for a resource, the product's defaults included, as JSON."""
    print_json(ask(server).call("GET", _settings_path(resource)))


@settings.command(name="change")
def change_settings(
    *changes: str, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE
) -> None:
    """Change settings of a resource and print what is then in force; what is not given stays.

    Parameters
    ----------
    changes
        Each as name=value, such as caps.perDay=20000 or allowedCountries=US,CA. The value null goes back to the
        product's default.
    """
    if not changes:
        raise Refusal("say what to change, such as caps.perDay=20000")
    print_json(ask(server).call("PATCH", _settings_path(resource), _patch(changes)))


@settings.command(name="set")
def set_settings(
    file: File, *, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE
) -> None:
    """Have a resource set exactly what a file says, in JSON, and print what is then in force."""
    print_json(ask(server).call("PUT", _settings_path(resource), _document(file)))


@campaign.command(name="halt")
def halt_campaign(tag: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Send no text of a campaign from now on: what no carrier has yet ends with code 5000 when its turn comes."""
    if not tag:
        raise Refusal("TAG is empty: see that the shell's variable for it is set")
    ask(server, {"haltedTags": "TAG"}).call("PATCH", _settings_path(resource), {"haltedTags": {tag: True}})
    print(f"{tag} is halted")


@campaign.command(name="resume")
def resume_campaign(tag: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Send a campaign's texts again; those that have ended meanwhile are not sent."""
    client = ask(server, {"haltedTags": "TAG"})
    halted = _halted(client, resource)
    if tag not in halted:
        there = ", ".join(map(on_one_line, halted)) or "none"
        raise Refusal(f"TAG: of {resource} no campaign {on_one_line(tag)} is halted; those that are: {there}")
    client.call("PATCH", _settings_path(resource), {"haltedTags": {tag: None}})
    print(f"{tag} goes on")


@campaign.command(name="list")
def list_campaigns(*, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE) -> None:
    """List the campaigns that are halted."""
    show([{"tag": tag} for tag in _halted(ask(server), resource)], ("tag",), json)


@pool.command(name="list")
def list_pools(*, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE) -> None:
    """List a resource's sender pools."""
    found = ask(server).get("resources", resource, "sms", "pools")["value"]
    rows = [
        {**each, "senders": " ".join(each["senders"]), "sticky": "no" if each.get("sticky") is False else "yes"}
        for each in found
    ]
    show(found if json else rows, ("name", "sticky", "senders"), json)


@pool.command(name="show")
def show_pool(
    name: str, *, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE
) -> None:
    """Print a sender pool as JSON."""
    print_json(ask(server, {"name": "NAME"}).call("GET", _pool_path(resource, name)))


@pool.command(name="set")
def set_pool(
    name: str, *senders: str, sticky: bool = True, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE
) -> None:
    """Make a sender pool, or make it so.

    Parameters
    ----------
    senders
        All its numbers and names.
    sticky
        Whether a recipient keeps the sender he knows.
    """
    client = ask(server, {"name": "NAME", "senders": "SENDERS"})
    client.call("PUT", _pool_path(resource, name), {"senders": senders, "sticky": sticky})
    print(f"send from pool:{name}")


@pool.command(name="remove")
def remove_pool(name: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Delete a sender pool; its numbers stay the resource's."""
    ask(server, {"name": "NAME"}).call("DELETE", _pool_path(resource, name))
    print(f"{name} is no pool of {resource} any more")


@keywords.command(name="show")
def show_keywords(
    number: str, *, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE
) -> None:
    """Print the keywords that a number answers to, and its replies; the first language answers first."""
    found = ask(server, {"number": "NUMBER"}).call("GET", _keywords_path(resource, number))["languages"]
    actions = ("stop", "start", "help")
    rows = [
        {"language": each["language"], "action": name, "keywords": ", ".join(each[name]), "reply": each[f"{name}Reply"]}
        for each in found
        for name in actions
    ]
    show(found if json else rows, ("language", "action", "keywords", "reply"), json)


@keywords.command(name="set")
def set_keywords(
    number: str,
    *,
    language: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    resource: Resource = DEFAULT_RESOURCE,
    server: Server = HERE,
) -> None:
    """Have a number answer in other languages, or to other keywords.

    Parameters
    ----------
    language
        One that comes with Landline: en, es, fr, de, pt; may be given several times, the first answers first.
    file
        A JSON file of languages with keywords and replies of your own, as `show --json` prints them; - is standard
        input.
    """
    if bool(language) == (file is not None):
        raise Refusal("give --language or --file")
    wanted = [{"language": each} for each in language] if file is None else _document(file, list)
    given = "--language" if file is None else "--file"
    client = ask(server, {"number": "NUMBER", "language": given, "languages": given})
    client.call("PUT", _keywords_path(resource, number), {"languages": wanted})
    print(f"{number} answers to its new keywords now")


@keywords.command(name="reset")
def reset_keywords(number: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Have a number answer to plain English again."""
    ask(server, {"number": "NUMBER"}).call("DELETE", _keywords_path(resource, number))
    print(f"{number} answers to the usual keywords")


def _settings_path(resource: str) -> str:
    return f"{resource_path(resource)}/sms/settings"


def _halted(client: AdminClient, resource: str) -> list[str]:
    tags = client.call("GET", _settings_path(resource))["haltedTags"]
    return [tag for tag, on in tags.items() if on]


def _pool_path(resource: str, name: str) -> str:
    from landline.app.admin_client import quoted

    return f"{resource_path(resource)}/sms/pools{quoted(name)}"


def _keywords_path(resource: str, number: str) -> str:
    from landline.app.admin_client import quoted

    return f"{resource_path(resource)}/numbers{quoted(number)}/keywords"


def _patch(changes: tuple[str, ...]) -> dict[str, object]:
    """`changes` as one JSON merge patch. Raises `Refusal` when two do not go together."""
    patch: dict[str, object] = {}
    for name, text in map(assignment, changes):
        *outer, last = name.split(".")
        inner = patch
        for part in outer:
            below = inner.setdefault(part, {})
            if not isinstance(below, dict):
                raise Refusal(f"{name}: {part} is given a value of its own already")
            inner = cast(dict[str, object], below)
        if last in inner:
            raise Refusal(f"{name} is given twice")
        inner[last] = _value(name, text)
    return patch


def _value(name: str, text: str) -> object:
    """`text` as JSON; what is none is text, or a list parted by commas where one is wanted."""
    try:
        return jsonlib.loads(text, parse_float=_exact)
    except ValueError:
        return [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text


def _exact(text: str) -> float | str:
    """A number with a fraction; as text where a float would be another one, for amounts of money are taken as text."""
    found = float(text)
    return found if Decimal(repr(found)) == Decimal(text) else text


def _document(file: Path, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    try:
        found: object = jsonlib.loads(text_of(file), parse_float=_exact)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{file} is no JSON: {error}") from None
    if not isinstance(found, kind):
        raise Refusal(f"{file} must hold a JSON {'object' if kind is dict else 'array'}")
    return cast(Any, found)
