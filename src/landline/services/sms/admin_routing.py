"""The admin routes of how messages leave: routing rules, a test of them, and the rates of senders."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from landline.core import money, phone
from landline.core.errors import Invalid, NotFound
from landline.core.ids import ResourceId, ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.ports.sms_carrier import SmsCarrier
from landline.services.numbers.service import Numbers
from landline.services.sms.model.pools import pool_name
from landline.services.sms.model.prices import PriceList
from landline.services.sms.model.routing import Choice, Choose, Explanation, Rule
from landline.services.sms.rates import Rates
from landline.services.sms.routing import InForce, Routing
from landline.services.sms.service import NOT_E164
from landline.wire.base import Wire

_Weight = Annotated[int, Meta(ge=0)]


class RouteCarrier(Wire, omit_defaults=False, forbid_unknown_fields=True):
    """One carrier of a rule."""

    carrier: str
    weight: _Weight = 1


class RouteRule(Wire, omit_defaults=False, forbid_unknown_fields=True):
    """A rule as it is set and shown; a misspelt condition is refused, because without it the rule matches more.

    `name`, `origin` and `missing_carriers` are for reading. They may be sent back, and say nothing then.
    """

    carriers: list[RouteCarrier | str]
    """A name alone has weight 1."""
    priority: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    countries: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    failover: bool = True
    choose: Choose = "weight"
    name: str | None = None
    origin: str | None = None
    missing_carriers: tuple[str, ...] = ()


class RouteTest(Wire, forbid_unknown_fields=True):
    """A message that might be sent."""

    resource: str
    from_: str = msgspec.field(name="from")
    to: str
    tag: str | None = None


class RateSetting(Wire, forbid_unknown_fields=True):
    messages_per_second: float


_RULE = msgspec.json.Decoder(RouteRule)
_TEST = msgspec.json.Decoder(RouteTest)
_RATE = msgspec.json.Decoder(RateSetting)


def routes(
    routing: Routing, rates: Rates, numbers: Numbers, carriers: Mapping[str, SmsCarrier], resource_named: ResourceNamed
) -> list[Route]:
    """The admin operations."""
    rules, senders = _Rules(routing, numbers, carriers, resource_named), _Senders(rates, numbers, resource_named)
    rule, rate = "/sms/routes/{name}", "/resources/{name}/numbers/{number}/rate"
    return [
        admin_route("GET", "/sms/routes", rules.show_all, "Routes_List"),
        admin_route("POST", "/sms/routes:test", rules.test, "Routes_Test"),
        admin_route("GET", rule, rules.show, "Routes_Get"),
        admin_route("PUT", rule, rules.put, "Routes_Put"),
        admin_route("DELETE", rule, rules.delete, "Routes_Delete"),
        admin_route("GET", rate, senders.show, "SenderRates_Get"),
        admin_route("PUT", rate, senders.put, "SenderRates_Put"),
        admin_route("DELETE", rate, senders.delete, "SenderRates_Delete"),
    ]


class _Rules:
    def __init__(
        self, routing: Routing, numbers: Numbers, carriers: Mapping[str, SmsCarrier], resource_named: ResourceNamed
    ) -> None:
        self._routing = routing
        self._numbers = numbers
        self._carriers = carriers
        self._resource_named = resource_named

    async def show_all(self, _request: Request) -> Response:
        """The rules in force, in the order they are looked at."""
        return json_response(200, {"value": [_shown(each) for each in await self._routing.rules()]})

    async def show(self, request: Request) -> Response:
        """One rule."""
        return json_response(200, _shown(await self._routing.rule(request.params["name"])))

    async def put(self, request: Request) -> Response:
        """Set a rule, in place of one of that name; in force when answered."""
        asked, name = request.decode(_RULE), request.params["name"]
        if asked.name not in (None, name):
            raise Invalid("The path names another route.", target="name")
        return json_response(200, _shown(await self._routing.put(_rule(name, asked))))

    async def delete(self, request: Request) -> Response:
        """Take away a rule set here."""
        await self._routing.delete(request.params["name"])
        return Response(204)

    async def test(self, request: Request) -> Response:
        """Which way a message would go, and why; nothing is sent."""
        asked = request.decode(_TEST)
        recipient = phone.parse(asked.to)
        if recipient is None:
            raise Invalid(NOT_E164, target="to")
        if pool_name(asked.from_) is not None:
            raise Invalid("Test the senders of a pool one by one: each may have its own way.", target="from")
        resource = await self._resource_named(asked.resource)
        owned = await self._numbers.sender(resource, asked.from_)
        router = await self._routing.router()
        bound_to = owned.carrier if owned is not None else None
        found = router.explain(resource, asked.from_, recipient, asked.tag, bound_to)
        return json_response(
            200, {**self._explained(found, router.prices, recipient), "senderOwned": owned is not None}
        )

    def _explained(self, found: Explanation, prices: PriceList, recipient: str) -> dict[str, Any]:
        return {
            "rule": found.route.rule,
            "carriers": [
                {
                    "carrier": name,
                    "up": name in self._carriers and self._carriers[name].up,
                    **({"price": _amount(prices.of(name, recipient))} if prices else {}),
                }
                for name in found.route.carriers
            ],
            "country": found.country,
            "looked": [{"rule": step.rule, "passedOver": step.passed_over} for step in found.steps],
        }


class _Senders:
    def __init__(self, rates: Rates, numbers: Numbers, resource_named: ResourceNamed) -> None:
        self._rates = rates
        self._numbers = numbers
        self._resource_named = resource_named

    async def show(self, request: Request) -> Response:
        """How many messages a second the sender may send; null is as many as its carriers take."""
        resource, number = await self._sender(request)
        rate = await self._rates.rate(resource, number)
        origin = "kind" if rate is None else "number"
        rate = self._rates.default(number) if rate is None else rate
        return json_response(200, {"messagesPerSecond": rate, "origin": None if rate is None else origin})

    async def put(self, request: Request) -> Response:
        """Set the sender's rate."""
        resource, number = await self._sender(request)
        await self._rates.set(resource, number, request.decode(_RATE).messages_per_second)
        return await self.show(request)

    async def delete(self, request: Request) -> Response:
        """Have the sender send as its kind does again."""
        resource, number = await self._sender(request)
        await self._rates.set(resource, number, None)
        return Response(204)

    async def _sender(self, request: Request) -> tuple[ResourceId, str]:
        resource = await self._resource_named(request.params["name"])
        number = request.params["number"]
        if await self._numbers.sender(resource, number) is None:
            raise NotFound("The resource does not own this number.", target="number")
        return resource, number


def _amount(micros: int | None) -> str | None:
    return None if micros is None else money.text(micros)


def _rule(name: str, asked: RouteRule) -> Rule:
    choices = [RouteCarrier(each) if isinstance(each, str) else each for each in asked.carriers]
    return Rule(
        name=name,
        carriers=tuple(Choice(each.carrier, each.weight) for each in choices),
        priority=asked.priority,
        countries=asked.countries,
        prefixes=asked.prefixes,
        senders=asked.senders,
        tags=asked.tags,
        resources=asked.resources,
        failover=asked.failover,
        choose=asked.choose,
    )


def _shown(found: InForce) -> RouteRule:
    rule = found.rule
    return RouteRule(
        carriers=[RouteCarrier(choice.carrier, choice.weight) for choice in rule.carriers],
        priority=rule.priority,
        countries=rule.countries,
        prefixes=rule.prefixes,
        senders=rule.senders,
        tags=rule.tags,
        resources=rule.resources,
        failover=rule.failover,
        choose=rule.choose,
        name=rule.name,
        origin=found.origin,
        missing_carriers=found.missing_carriers,
    )
