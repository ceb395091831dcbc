"""The served public operations as an OpenAPI document, by hand from acs-wire.md, for generated requests."""

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "string", "pattern": r"^\+1425[2-9][0-9]{6}$"}
VERSION: Schema = {"enum": ["2021-03-07", "2023-10-01", "2026-01-23"]}
GUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"
ID: Schema = {"anyOf": [{"type": "string", "pattern": f"^8:acs:{GUID}_{GUID}$"}, {"type": "string", "minLength": 1}]}
ROOM: Schema = {"anyOf": [{"type": "string", "pattern": "^99[0-9]{15}$"}, {"type": "string", "minLength": 1}]}
INSTANT: Schema = {"type": "string", "format": "date-time", "nullable": True}
FQDN: Schema = {"type": "string", "pattern": "^sbc[1-3]\\.example\\.org$"}
SCOPES: Schema = {
    "type": "array",
    "items": {"enum": ["chat", "voip", "chat.join", "chat.join.limited", "voip.join"]},
    "minItems": 1,
    "uniqueItems": True,
}
EXPIRY: Schema = {"type": "integer", "minimum": 60, "maximum": 1440}


def record(required: list[str], **properties: Schema) -> Schema:
    """An object of these properties."""
    return {"type": "object", "required": required, "properties": properties}


ERROR = record(["error"], error=record(["code", "message"], code=TEXT, message=TEXT))
PROBLEM = record(["type", "title", "status"], type=TEXT, title=TEXT, status={"type": "integer"})
TOKEN = record(["token", "expiresOn"], token=TEXT, expiresOn={"type": "string", "format": "date-time"})
IDENTITY = record(["identity"], identity=record(["id"], id=TEXT), accessToken=TOKEN)
ITEM = record(["to", "httpStatusCode"], to=TEXT, httpStatusCode={"type": "integer"}, errorMessage=TEXT)


def values(item: Schema) -> Schema:
    return record(["value"], value={"type": "array", "items": item})


def mapped(names: Schema, values: Schema) -> Schema:
    """An object whose keys are no fixed ones."""
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


def later_services() -> Schema:
    """SIP routing, rooms and network traversal."""
    trunk = {**record([], sipSignalingPort={"type": "integer"}), "nullable": True}
    route = record(
        ["name", "numberPattern"],
        name={"type": "string", "maxLength": 256},
        numberPattern={"type": "string", "maxLength": 1024},
        description={"type": "string", "maxLength": 1024},
        trunks={"type": "array", "items": FQDN, "maxItems": 250},
    )
    sip = record([], trunks=mapped(FQDN, trunk), routes={"type": "array", "items": route, "maxItems": 250})
    roles: Schema = {"enum": ["Presenter", "Attendee", "Consumer", "Collaborator"]}
    people = mapped(ID, {**record([], role=roles), "nullable": True})
    hours = {"validFrom": INSTANT, "validUntil": INSTANT, "pstnDialOutEnabled": {"type": "boolean", "nullable": True}}
    room = record(["id"], id=TEXT)
    relay = record([], id=ID, routeType={"enum": ["any", "nearest"]}, ttl={"type": "integer", "maximum": 172_800})
    return {
        "/sip": {"get": operation({"200": sip}, None), "patch": operation({"200": sip}, sip)},
        "/rooms": {
            "get": operation({"200": values(room)}, None, query="after"),
            "post": operation({"201": room}, record([], participants=people, **hours), body_required=False),
        },
        "/rooms/{roomId}": {
            "get": operation({"200": room}, None, "roomId"),
            "patch": operation({"200": room}, record([], **hours), "roomId"),
            "delete": operation({"204": None}, None, "roomId"),
        },
        "/rooms/{roomId}/participants": {
            "get": operation({"200": values(record(["rawId"], rawId=TEXT))}, None, "roomId", query="after"),
            "patch": operation({"200": record([])}, record([], participants=people), "roomId"),
        },
        "/networkTraversal/:issueRelayConfiguration": {
            "post": operation({"200": record(["expiresOn"], expiresOn=TEXT)}, relay, body_required=False)
        },
    }


def document(senders: list[str]) -> Schema:
    """The document; `senders` are numbers worth sending from, so that requests come past the first check."""
    sender: Schema = {"enum": senders}
    recipient = record(["to"], to=NUMBER, repeatabilityRequestId=TEXT, repeatabilityFirstSent=TEXT)
    options = record(
        ["enableDeliveryReport"],
        enableDeliveryReport={"type": "boolean"},
        tag=TEXT,
        deliveryReportTimeoutInSeconds={"type": "integer", "minimum": 60, "maximum": 43200},
    )
    send = record(
        ["from", "smsRecipients", "message"],
        **{"from": sender},
        smsRecipients={"type": "array", "items": recipient, "minItems": 1, "maxItems": 100},
        message={"type": "string", "maxLength": 2048},
        smsSendOptions=options,
    )
    to = record(["to"], to=NUMBER)
    recipients: Schema = {"type": "array", "items": to, "minItems": 1, "maxItems": 100}
    opt_out = record(["from", "recipients"], **{"from": sender}, recipients=recipients)
    issue = record(["scopes"], scopes=SCOPES, expiresInMinutes=EXPIRY)
    create = record([], createTokenWithScopes=SCOPES, expiresInMinutes=EXPIRY)
    exchange = record(["token", "appId", "userId"], token=TEXT, appId=TEXT, userId=TEXT)
    return {
        "openapi": "3.0.3",
        "info": {"title": "What is served", "version": "2026-01-23"},
        "paths": {
            "/identities": {"post": operation({"201": IDENTITY}, create, body_required=False)},
            "/identities/{id}": {"delete": operation({"204": None}, None, "id")},
            "/identities/{id}/:issueAccessToken": {"post": operation({"200": TOKEN}, issue, "id")},
            "/identities/{id}/:revokeAccessTokens": {"post": operation({"204": None}, None, "id")},
            "/teamsUser/:exchangeAccessToken": {"post": operation({"200": TOKEN}, exchange)},
            "/sms": {"post": operation({"202": values(ITEM)}, send)},
            "/sms/optouts:add": {"post": operation({"200": values(ITEM)}, opt_out)},
            "/sms/optouts:remove": {"post": operation({"200": values(ITEM)}, opt_out)},
            "/sms/optouts:check": {"post": operation({"200": values(ITEM)}, opt_out)},
            "/deliveryReports/{id}": {"get": operation({"200": record(["messageId"], messageId=TEXT)}, None, "id")},
            **later_services(),
        },
    }


def operation(
    answers: dict[str, Schema | None],
    body: Schema | None,
    *path: str,
    body_required: bool = True,
    query: str | None = None,
) -> Schema:
    """One operation: its good answers by status, its body, its path parameters, and one in the query."""
    version = {"name": "api-version", "in": "query", "required": True, "schema": VERSION}
    schemas = {"roomId": ROOM}
    made: Schema = {
        "parameters": [
            version,
            *({"name": name, "in": "path", "required": True, "schema": schemas.get(name, ID)} for name in path),
            *([{"name": query, "in": "query", "required": False, "schema": TEXT}] if query else ()),
        ],
        "responses": {
            **{status: response(schema) for status, schema in answers.items()},
            "default": response({"anyOf": [ERROR, PROBLEM]}),
        },
    }
    if body is not None:
        made["requestBody"] = {"required": body_required, "content": {"application/json": {"schema": body}}}
    return made


def response(schema: Schema | None) -> Schema:
    if schema is None:
        return {"description": "no content"}
    types = ["application/json", "application/problem+json"]
    return {"description": "", "content": {kind: {"schema": schema} for kind in types}}
