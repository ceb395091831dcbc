"""Admin routes of the simulated carrier: texting handsets, their inboxes and behaviours, rules of faults, the seed."""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

import msgspec

from landline.core import phone
from landline.core.errors import Invalid
from landline.edge import queries
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.engines.simulated.desk import HandsetSummary
from landline.engines.simulated.model import CODES, DELIVERED, Behaviour, Conduct, Point, Rule
from landline.engines.simulated.records import InboxItem
from landline.wire import handsets as wire
from landline.wire.base import timestamp

BEHAVIOUR = msgspec.json.Decoder(wire.HandsetBehaviour)
TEXT = msgspec.json.Decoder(wire.HandsetText)
RULE = msgspec.json.Decoder(wire.CarrierRule)
SEED = msgspec.json.Decoder(wire.CarrierSeed)

WAIT_LIMIT_S = 60.0
ROAMING_S = 3600.0
_BLOCKED = 4005
_PREFIX = re.compile(r"(\+[0-9]{0,15})?\*", re.ASCII)
E = TypeVar("E", bound=Enum)


Received = Callable[[str, str], Awaitable[str | None]]
"""The id under which the product took in what a carrier (its name) brought with a key; None when nobody got it."""


def routes(carrier: SimulatedCarrier, received: Received) -> list[Route]:
    """All admin routes of `carrier`."""
    return [*_handset_routes(carrier, received), *_rule_routes(carrier)]


def _handset_routes(carrier: SimulatedCarrier, received: Received) -> list[Route]:
    async def show_all(_: Request) -> Response:
        """The handsets that have a behaviour of their own, or texts."""
        return json_response(200, {"value": [_handset(summary) for summary in await carrier.desk.handsets()]})

    async def behave(request: Request) -> Response:
        """Say how a handset behaves from now on."""
        await carrier.behave(_number(request), _behaviour(request.decode(BEHAVIOUR)))
        return Response(204)

    async def plain(request: Request) -> Response:
        """Have a handset answer as all do at first."""
        await carrier.behave(_number(request), None)
        return Response(204)

    async def inbox(request: Request) -> Response:
        """The texts on a handset in the order of their arrival; it may wait for the first."""
        queries.refuse_unknown(request.query, ("after", "wait"))
        after = _query_number(request, "after", 2**63 - 1)
        wait_s = _query_number(request, "wait", WAIT_LIMIT_S)
        items = await carrier.desk.inbox(_number(request), int(after), wait_s)
        return json_response(200, {"value": [_text(item) for item in items]})

    async def clear(request: Request) -> Response:
        """Delete the texts on a handset."""
        await carrier.desk.clear_inbox(_number(request))
        return Response(204)

    async def text(request: Request) -> Response:
        """Send a text from a handset to a number of a resource; answered when it is stored."""
        body = request.decode(TEXT)
        if phone.sender_kind(body.to) in (None, phone.SenderKind.ALPHANUMERIC):
            raise Invalid("A handset texts an E.164 number or a short code.", target="to")
        arrival = await carrier.text(_number(request), body.to, body.text)
        message_id = await received(carrier.name, arrival.key)
        if message_id is None:
            raise Invalid(f"No resource here has {body.to}, or it takes no texts.", target="to")
        return json_response(202, {"messageId": message_id, "segments": arrival.segments})

    return [
        admin_route("GET", "/handsets", show_all, "Handsets_List"),
        admin_route("PUT", "/handsets/{number}", behave, "Handsets_Put"),
        admin_route("DELETE", "/handsets/{number}", plain, "Handsets_Delete"),
        admin_route("GET", "/handsets/{number}/inbox", inbox, "Handsets_Inbox"),
        admin_route("DELETE", "/handsets/{number}/inbox", clear, "Handsets_ClearInbox"),
        admin_route("POST", "/handsets/{number}:text", text, "Handsets_Text"),
    ]


def _rule_routes(carrier: SimulatedCarrier) -> list[Route]:
    async def show_all(_: Request) -> Response:
        """The rules for faults in the order they are asked, and how often each has fired."""
        return json_response(200, {"value": [_in_force(rule) for rule in await carrier.desk.rules()]})

    async def add(request: Request) -> Response:
        """Add a rule: what happens to chosen messages."""
        return json_response(201, _in_force(await carrier.desk.add_rule(_rule(request.decode(RULE)))))

    async def delete(request: Request) -> Response:
        """Remove a rule."""
        rule_id = request.params["id"]
        if not rule_id.isdecimal() or len(rule_id) > 18:
            raise Invalid("A rule's id is a number.", target="id")
        await carrier.desk.delete_rules(int(rule_id))
        return Response(204)

    async def delete_all(_: Request) -> Response:
        """Remove all rules."""
        await carrier.desk.delete_rules()
        return Response(204)

    async def seed(_: Request) -> Response:
        """The seed that all chance follows from."""
        return json_response(200, wire.CarrierSeed(await carrier.desk.seed()))

    async def put_seed(request: Request) -> Response:
        """Begin a run by this seed: chance repeats with it."""
        await carrier.desk.put_seed(request.decode(SEED).seed)
        return Response(204)

    async def reset(_: Request) -> Response:
        """Have the simulated carrier be as on its first start: no texts, receipts, behaviours or rules."""
        await carrier.reset()
        return Response(204)

    return [
        admin_route("GET", "/carrier/rules", show_all, "CarrierRules_List"),
        admin_route("POST", "/carrier/rules", add, "CarrierRules_Add"),
        admin_route("DELETE", "/carrier/rules", delete_all, "CarrierRules_DeleteAll"),
        admin_route("DELETE", "/carrier/rules/{id}", delete, "CarrierRules_Delete"),
        admin_route("GET", "/carrier/seed", seed, "Carrier_Seed"),
        admin_route("PUT", "/carrier/seed", put_seed, "Carrier_PutSeed"),
        admin_route("POST", "/carrier:reset", reset, "Carrier_Reset"),
    ]


def _number(request: Request) -> str:
    number = phone.parse(request.params["number"])
    if number is None:
        raise Invalid("A handset's number is in E.164 form, like +14255550199.", target="number")
    return number


def _query_number(request: Request, name: str, limit: float) -> float:
    value = request.query.get(name) or "0"
    try:
        found = float(value) if "." in value else int(value)
    except ValueError:
        found = -1
    if not 0 <= found <= limit:
        raise Invalid(f"Must be a number from 0 to {int(limit)}.", target=name)
    return found


def _behaviour(body: wire.HandsetBehaviour) -> Behaviour:
    conduct = _one_of(Conduct, body.behaviour, "behaviour")
    after_s = body.after if body.after is not None else ROAMING_S if conduct is Conduct.ROAMING else 0.0
    code = _failure(body.code if body.code is not None else _BLOCKED, "code")
    point = _one_of(Point, body.at, "at")
    return Behaviour(conduct, after_s, body.jitter, code, point, tuple(body.auto_replies), body.auto_reply_after)


def _rule(body: wire.CarrierRule) -> Rule:
    outcome, point = body.outcome, _one_of(Point, body.at, "at")
    if _PREFIX.fullmatch(body.number) is None and phone.parse(body.number) is None:
        raise Invalid(
            "A rule is for a number (+14255550199), for those that begin alike (+1425*), or all (*).", target="number"
        )
    if outcome.silent == (outcome.code is not None):
        raise Invalid("An outcome is either a code or silent.", target="outcome")
    if point is Point.SUBMIT:
        _failure(outcome.code, "outcome.code")
    elif outcome.temporary:
        raise Invalid("Only a refusal at submit can be temporary.", target="outcome.temporary")
    elif outcome.code is not None and outcome.code not in CODES:
        raise _unknown_code("outcome.code")
    return Rule(
        body.number,
        outcome.code,
        nth=body.nth,
        every=body.every,
        fires_limit=body.count,
        rate=body.rate,
        temporary=outcome.temporary,
        point=point,
        after_s=body.after,
        jitter_s=body.jitter,
    )


def _failure(code: int | None, target: str) -> int:
    if code is None or code == DELIVERED or code not in CODES:
        raise _unknown_code(target)
    return code


def _unknown_code(target: str) -> Invalid:
    return Invalid(f"Must be one of the detail codes {', '.join(map(str, sorted(CODES)))} that fits.", target=target)


def _one_of(kind: type[E], value: str, target: str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise Invalid(f"Must be one of: {known}.", target=target) from None


def _handset(summary: HandsetSummary) -> wire.Handset:
    behaviour = summary.handset.behaviour
    rejects = behaviour.conduct is Conduct.REJECTS
    return wire.Handset(
        summary.handset.number,
        behaviour.conduct.value,
        summary.texts,
        behaviour.after_s,
        behaviour.jitter_s,
        behaviour.code if rejects else None,
        behaviour.point.value if rejects else None,
        list(behaviour.replies),
        behaviour.reply_after_s,
    )


def _text(item: InboxItem) -> wire.InboxText:
    return wire.InboxText(
        str(item.position),
        item.sender,
        item.handset,
        item.text,
        item.segments,
        timestamp(item.received_at),
        str(item.key),
    )


def _in_force(rule: Rule) -> wire.CarrierRuleInForce:
    return wire.CarrierRuleInForce(
        str(rule.rule_id),
        rule.number,
        wire.RuleOutcome(rule.code, rule.code is None, rule.temporary),
        rule.nth,
        rule.every,
        rule.fires_limit,
        rule.rate,
        rule.after_s,
        rule.jitter_s,
        rule.point.value,
        rule.seen,
        rule.fired,
    )
