"""The command `subscription`: webhooks that get a resource's events, with all that the admin API has for them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from cyclopts import App, Parameter

from landline.app.cli_shared import (
    DEFAULT_RESOURCE,
    HERE,
    AlwaysJson,
    Json,
    Resource,
    Server,
    ask,
    encoded,
    print_json,
    resource_path,
    show,
)
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from landline.app.admin_client import AdminClient

NAMESPACE = "Microsoft.Communication."
_MOST_ROWS = 1000
_OPTIONS = {
    "name": "--name",
    "endpoint": "--endpoint",
    "schema": "--schema",
    "includedEventTypes": "--event-type",
    "subjectBeginsWith": "--subject-begins-with",
    "subjectEndsWith": "--subject-ends-with",
    "isSubjectCaseSensitive": "--case-sensitive",
    "deliveryHeaders": "--header",
    "signatureSecrets": "--signature-secret",
    "maxDeliveryAttempts": "--max-delivery-attempts",
    "eventTimeToLiveInMinutes": "--ttl-minutes",
    "maxEventsPerBatch": "--max-events-per-batch",
    "preferredBatchSizeInKilobytes": "--batch-kilobytes",
    "validation": "--validation",
    "connectionString": "--connection-string",
    "enabled": "--enabled",
}
"""What the fields of the admin API are called here."""

subscription = App(name="subscription", help="Webhooks that get a resource's events.")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """What it is sent, and how. What is not given stays as it is, or as the product has it."""

    schema: Literal["EventGridSchema", "CloudEventSchemaV1_0"] | None = None
    """The envelope of events."""
    event_type: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """Only events of this type, such as SMSReceived; may be given several times."""
    subject_begins_with: str | None = None
    """Only events whose subject begins so."""
    subject_ends_with: str | None = None
    """Only events whose subject ends so."""
    case_sensitive: bool | None = None
    """Whether these look at capitals."""
    header: Annotated[tuple[str, ...] | None, Parameter(negative_iterable="no-")] = None
    """A header to send with each delivery, as "Name: value"; may be given several times."""
    secret_header: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """One whose value is sealed and never shown; "Name: @file" reads it from a file."""
    signature_secret: Annotated[tuple[str, ...] | None, Parameter(negative_iterable="no-")] = None
    """Signs each delivery, 16 to 256 characters, @file reads it from a file; twice while you change it."""
    max_delivery_attempts: int | None = None
    """Tries before an event is a dead letter."""
    ttl_minutes: int | None = None
    """How long an event is tried."""
    max_events_per_batch: int | None = None
    """The most events of one request."""
    batch_kilobytes: int | None = None
    """About how large a request of several events may be."""
    validation: bool | None = None
    """Whether the endpoint is asked for its consent."""

    def body(self) -> dict[str, object]:
        """These as the admin API wants them. Raises `Refusal`."""
        types = [each if "." in each else NAMESPACE + each for each in self.event_type]
        headers = [_header(each, secret=False) for each in self.header or ()]
        headers += [_header(each, secret=True) for each in self.secret_header]
        secrets = self.signature_secret
        wanted: dict[str, object] = {
            "schema": self.schema,
            "includedEventTypes": types or None,
            "subjectBeginsWith": self.subject_begins_with,
            "subjectEndsWith": self.subject_ends_with,
            "isSubjectCaseSensitive": self.case_sensitive,
            "deliveryHeaders": headers or (None if self.header is None else []),
            "signatureSecrets": None if secrets is None else [_value(each) for each in secrets],
            "maxDeliveryAttempts": self.max_delivery_attempts,
            "eventTimeToLiveInMinutes": self.ttl_minutes,
            "maxEventsPerBatch": self.max_events_per_batch,
            "preferredBatchSizeInKilobytes": self.batch_kilobytes,
            "validation": self.validation,
        }
        return {name: value for name, value in wanted.items() if value is not None}


NOTHING = Options()


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(subscription)


@subscription.command(name="list")
def list_subscriptions(*, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE) -> None:
    """List a resource's webhooks."""
    found = ask(server).get("resources", resource, "subscriptions")["value"]
    show(found, ("name", "endpoint", "schema", "state", "reason"), json)


@subscription.command(name="show")
def show_subscription(
    name: str, *, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE
) -> None:
    """Print all there is to a webhook, but its secrets, as JSON."""
    print_json(ask(server).get("resources", resource, "subscriptions", name))


@subscription.command(name="add")
def add_subscription(
    *,
    name: str,
    endpoint: str,
    connection_string: str | None = None,
    resource: str | None = None,
    cloud_events: Annotated[bool, Parameter(negative=())] = False,
    options: Options = NOTHING,
    server: Server = HERE,
) -> None:
    """Have a resource's events posted to a webhook, which must answer the handshake.

    Parameters
    ----------
    name
        Name of the subscription.
    endpoint
        The webhook's URL.
    connection_string
        Chooses the resource by a connection string of it.
    resource
        Chooses the resource by name. Default: local.
    cloud_events
        CloudEvents 1.0 instead of the Event Grid schema.
    """
    client = ask(server, _OPTIONS)
    chosen = resource or (_resource_of(client, connection_string) if connection_string else DEFAULT_RESOURCE)
    body = {"name": name, "endpoint": endpoint, **options.body()}
    if cloud_events:
        body["schema"] = "CloudEventSchemaV1_0"
    made = client.call("POST", f"{resource_path(chosen)}/subscriptions", body)
    _refuse_failed(made)
    waits = " once its handshake is answered" if made["state"] == "validating" else ""
    print(f"{name}: events of {chosen} go to {endpoint}{waits}")


@subscription.command(name="change")
def change_subscription(
    name: str,
    *,
    endpoint: str | None = None,
    all_event_types: Annotated[bool, Parameter(negative=())] = False,
    enabled: bool | None = None,
    resource: Resource = DEFAULT_RESOURCE,
    options: Options = NOTHING,
    server: Server = HERE,
) -> None:
    """Change a webhook; what is not given stays. Headers, secrets and event types replace those there were.

    Parameters
    ----------
    endpoint
        Another URL, which is asked for its consent.
    all_event_types
        Events of every type again.
    enabled
        Whether it is sent events; those of the meantime wait.
    """
    body = options.body()
    if endpoint is not None:
        body["endpoint"] = endpoint
    if all_event_types:
        body["includedEventTypes"] = None
    if enabled is not None:
        body["enabled"] = enabled
    if not body:
        raise Refusal("say what to change: see landline subscription change --help")
    changed = ask(server, _OPTIONS).call("PATCH", _path(resource, name), body)
    _refuse_failed(changed)
    print(f"{name} is {changed['state']}{_to_move(changed)}")


@subscription.command(name="validate")
def validate_subscription(name: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Ask a webhook for its consent again."""
    asked = ask(server).call("POST", f"{_path(resource, name)}:validate")
    _refuse_failed(asked)
    print(f"{name} is {asked['state']}{_to_move(asked)}")


@subscription.command(name="dead-letters")
def list_dead_letters(
    name: str | None = None, *, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE
) -> None:
    """List the events that were given up, of one webhook or of all, the oldest 1,000 first.

    Parameters
    ----------
    name
        Name of the subscription.
    """
    query = encoded({"limit": _MOST_ROWS, "subscription": name or None})
    found = ask(server).call("GET", f"{resource_path(resource)}/deadletters?{query}")
    rows: list[dict[str, Any]] = found["value"]
    show(rows, ("subscription", "eventType", "subject", "deadAt", "reason", "attempts", "lastStatus"), json)
    if found.get("nextLink"):
        print(f"these are the oldest {_MOST_ROWS:,}: there are more", file=sys.stderr)


@subscription.command(name="replay")
def replay_dead_letters(name: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Deliver all of a webhook's dead letters again."""
    count = ask(server).call("POST", f"{_path(resource, name)}:replay")["replayed"]
    print(f"on their way to {name} again: {count}")


@subscription.command(name="remove")
def remove_subscription(name: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Take a webhook away from a resource."""
    ask(server).call("DELETE", _path(resource, name))
    print(f"{name} gets no more events of {resource}")


def _path(resource: str, name: str) -> str:
    from landline.app.admin_client import quoted

    return f"{resource_path(resource)}/subscriptions{quoted(name)}"


def _refuse_failed(subscription: dict[str, Any]) -> None:
    if subscription["state"] == "failed":
        name, reason = subscription["name"], subscription["reason"]
        raise Refusal(
            f"{name} is kept, but gets no events: {reason.rstrip('.')}. Have the endpoint answer, then ask it again: "
            f"landline subscription validate {name}"
        )


def _to_move(subscription: dict[str, Any]) -> str:
    waits = subscription["pendingEndpoint"]
    return f"; its events go to {waits} once that has consented, and until then where they went" if waits else ""


def _header(text: str, *, secret: bool) -> dict[str, object]:
    name, colon, value = text.partition(":")
    if not colon:
        raise Refusal(f'a header is given as "Name: value", which {"a secret one" if secret else text} is not')
    return {"name": name.strip(), "value": _value(value.strip()) if secret else value.strip(), "isSecret": secret}


def _value(text: str) -> str:
    """A secret, or what the file named by `@path` holds."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).expanduser().read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise Refusal(f"cannot read {text[1:]}: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def _resource_of(client: AdminClient, connection_string: str) -> str:
    """The resource a connection string belongs to: by the host name in it, or by its key, which the server knows."""
    fields = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    try:
        host = urlsplit(fields.get("endpoint", "")).hostname or ""
    except ValueError:  # the server says what is wrong with it
        host = ""
    if host.endswith(".localhost"):
        return host.removesuffix(".localhost")
    return client.call("POST", "/resources:resolve", {"connectionString": connection_string})["name"]
