"""Which carriers a message may go through, in which order: rules compiled so that deciding costs about a microsecond.

Everything follows from the rules, the carriers' prices and the message: by the same rules and prices it is routed the
same way again, in any process.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Literal
from zlib import crc32

from msgspec import Struct

from landline.core import phone
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.services.sms.model.messages import REPLY
from landline.services.sms.model.prices import PriceList

NUMBER_RULE = "number"
"""What decided when the sender's number is bound to a carrier."""
DEFAULT_RULE = "default"
"""What decided when no rule matched."""
RESERVED = frozenset({NUMBER_RULE, DEFAULT_RULE, REPLY})

_NO_PRICES = PriceList()
_REMEMBERED_PRICES = 10_000
CHEAPEST = "cheapest"
Choose = Literal["weight", "cheapest"]

Country = Callable[[str], str | None]
"""The ISO 3166 code of an E.164 number's country, quickly: it is asked for each message that a country's rule may
match. None, or a code of no country, for a number that has none."""


class Choice(Struct, frozen=True):
    """A carrier of a rule. Of weights 3 and 1 the first carrier gets three messages of four; 0 is for failover only."""

    carrier: str
    weight: int = 1


class Rule(Struct, frozen=True, kw_only=True):
    """Messages that it matches go through its carriers. An empty condition matches everything; a message's recipient
    matches when its number begins with one of `prefixes` or belongs to one of `countries`."""

    name: str
    carriers: tuple[Choice, ...]
    priority: int = 100
    """The matching rule with the lowest number decides, of equal ones the first by name."""
    countries: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """With their `+`."""
    senders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """By their names."""
    failover: bool = True
    """Whether the other carriers are tried when the first is down or refuses."""
    choose: Choose = "weight"
    """Which carrier is first, and in which order the others follow."""

    @property
    def sort_key(self) -> tuple[int, str]:
        """The order in which rules are looked at."""
        return self.priority, self.name


class Route(Struct, frozen=True):
    """What decided, and the carriers to try in their order."""

    rule: str
    carriers: tuple[str, ...]


class Step(Struct, frozen=True):
    """One rule as it was looked at; `passed_over` says why it does not match, None when it decided."""

    rule: str
    passed_over: str | None


class Explanation(Struct, frozen=True):
    """A route, and how it was found."""

    route: Route
    country: str | None
    steps: tuple[Step, ...]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
MOST_CARRIERS = 16
MOST_CONDITIONS = 10_000
HEAVIEST = 1_000


def checked(rule: Rule) -> Rule:
    """`rule` when it can be in force. Raises `Invalid`, naming the field."""
    if not _NAME.fullmatch(rule.name) or rule.name in RESERVED:
        raise Invalid(
            "A route's name is 1 to 64 letters, digits, dots, hyphens and underscores, and none of "
            f"{', '.join(sorted(RESERVED))}.",
            target="name",
        )
    names = [choice.carrier for choice in rule.carriers]
    if not 1 <= len(names) <= MOST_CARRIERS or len(set(names)) < len(names):
        raise Invalid(f"A route has 1 to {MOST_CARRIERS} carriers, each once.", target="carriers")
    weights = [choice.weight for choice in rule.carriers]
    if not all(0 <= weight <= HEAVIEST for weight in weights) or not any(weights):
        raise Invalid(f"Weights are from 0 to {HEAVIEST}, and one of them at least 1.", target="carriers")
    for field, values, valid, wanted in (
        ("countries", rule.countries, _is_country, "is no country's ISO 3166 code of two capital letters"),
        ("prefixes", rule.prefixes, _PREFIX.fullmatch, "is not a + and the first digits of phone numbers"),
        ("senders", rule.senders, phone.sender_kind, "is not a phone number, short code or alphanumeric name"),
        ("tags", rule.tags, bool, "is empty"),
        ("resources", rule.resources, bool, "is empty"),
    ):
        wrong = next((value for value in values if not valid(value)), None)
        if wrong is not None:
            raise Invalid(f"{wrong!r} {wanted}.", target=field)
        if len(values) > MOST_CONDITIONS:
            raise Invalid(f"There are at most {MOST_CONDITIONS}.", target=field)
    return rule


def _is_country(code: str) -> bool:
    return code in _countries()


@cache
def _countries() -> frozenset[str]:
    import phonenumbers  # its tables are only needed where a rule names a country

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


class _Deal:
    """The routes of which one is a message's, chosen by the recipient's number: one for each carrier of `first`, the
    others of `ordered` behind it in their order."""

    __slots__ = ("_bounds", "_owned", "_routes", "_seed", "_total", "rule")

    def __init__(self, rule: Rule, first: Sequence[Choice], ordered: Sequence[Choice]) -> None:
        self.rule = rule
        names = tuple(choice.carrier for choice in ordered)
        orders = [(choice.carrier, *(name for name in names if name != choice.carrier)) for choice in first]
        self._routes = [Route(rule.name, order if rule.failover else order[:1]) for order in orders]
        self._bounds = list(accumulate(max(choice.weight, 1) for choice in first))
        self._total = self._bounds[-1]
        self._seed = crc32(rule.name.encode())
        self._owned: dict[str, Route] = {}

    def route(self, recipient: str) -> Route:
        if len(self._routes) == 1:
            return self._routes[0]
        # CRC alone would deal consecutive numbers out unevenly; the multiplication spreads it (Knuth, TAOCP 6.4).
        spread = (crc32(recipient.encode(), self._seed) * 0x9E3779B1) & 0xFFFFFFFF
        return self._routes[bisect_right(self._bounds, spread * self._total >> 32)]

    def after(self, owned: str) -> Route:
        """The route of a number bound to the carrier `owned`, the rule's carriers being its failover."""
        route = self._owned.get(owned)
        if route is None:
            others = self._routes[0].carriers if self.rule.failover else ()
            carriers = (owned, *(name for name in others if name != owned))
            route = self._owned[owned] = Route(NUMBER_RULE, carriers)
        return route


class _Spread:
    """How one rule deals its messages out: by weight, or by what each carrier charges for the number."""

    __slots__ = ("_by_prices", "_by_weight", "_choices", "_prices", "rule")

    def __init__(self, rule: Rule, choices: Sequence[Choice], prices: PriceList) -> None:
        self.rule = rule
        self._choices = sorted(choices, key=lambda choice: -choice.weight)
        first = [choice for choice in self._choices if choice.weight > 0] or self._choices[:1]
        self._by_weight = _Deal(rule, first, self._choices)
        self._prices = prices if rule.choose == CHEAPEST and prices else None
        self._by_prices: dict[tuple[int | None, ...], _Deal] = {}

    def deal(self, recipient: str) -> _Deal:
        """What decides for the number `recipient`."""
        if self._prices is None:
            return self._by_weight
        prices = tuple([self._prices.of(choice.carrier, recipient) for choice in self._choices])
        return self._by_prices.get(prices) or self._compare(prices)

    def _compare(self, prices: tuple[int | None, ...]) -> _Deal:
        """Of carriers with these prices the cheapest is first, those of equal prices by weight. One whose price nobody
        knows is behind all others."""
        ranked = sorted(zip(self._choices, prices, strict=True), key=lambda each: (each[1] is None, each[1] or 0))
        may_be_first = [each for each in ranked if each[0].weight > 0] or ranked[:1]
        lowest = may_be_first[0][1]
        first = [choice for choice, price in may_be_first if price == lowest]
        if len(self._by_prices) >= _REMEMBERED_PRICES:
            self._by_prices.clear()
        found = self._by_prices[prices] = _Deal(self.rule, first, [choice for choice, _ in ranked])
        return found


class _Condition:
    """One condition of all rules: which of them a value fulfils. Rules are bits, by their places in the order."""

    __slots__ = ("by_value", "otherwise")

    def __init__(self) -> None:
        self.by_value: dict[object, int] = {}
        self.otherwise = 0
        """The rules without it: every value will do."""

    def add(self, bit: int, values: Iterable[object], *, stated: bool) -> None:
        if not stated:
            self.otherwise |= bit
        for value in values:
            self.by_value[value] = self.by_value[value] | bit if value in self.by_value else bit

    def fulfilled(self, value: object) -> int:
        return self.by_value.get(value, 0) | self.otherwise


class _Candidates(Struct, frozen=True):
    """Rules that match a resource, sender and tag, and what is to be asked of the recipient to tell which decides."""

    rules: int
    """Their bits, none behind the first that matches any recipient."""
    anywhere: int
    """The bit of that one."""
    lengths: tuple[int, ...]
    """Of their prefixes."""
    by_country: bool


class Router:
    """Rules in force, decided on by `route`. Rules none of whose carriers are in `carriers` are passed over, as are
    carriers that are not there; `defaults` are tried in their order where no rule matches."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        carriers: Collection[str],
        defaults: Sequence[str],
        resources: Mapping[str, ResourceId],
        country: Country,
        prices: PriceList = _NO_PRICES,
        remembered: int = 65_536,
    ) -> None:
        self.prices = prices
        self.carriers = frozenset(carriers)
        self._country = country
        self._remembered = remembered
        self._default = Route(DEFAULT_RULE, tuple(defaults))
        self._ids = resources
        self._spreads: list[_Spread] = []
        self.rules = sorted(rules, key=lambda rule: rule.sort_key)
        self.missing = {rule.name for rule in self.rules if not _present(rule, carriers)}
        """Names of the rules none of whose carriers are there."""
        for rule in self.rules:
            if rule.name not in self.missing:
                self._spreads.append(_Spread(rule, _present(rule, carriers), prices))
        self._by_resource, self._by_sender, self._by_tag = _Condition(), _Condition(), _Condition()
        self._by_prefix, self._by_country = _Condition(), _Condition()
        for index, spread in enumerate(self._spreads):
            self._compile(1 << index, spread.rule)
        self._candidates: dict[int, _Candidates] = {}

    def _compile(self, bit: int, rule: Rule) -> None:
        """Once for all resources, senders and tags: rules may have thousands of prefixes, and senders rules each."""
        ids = [self._ids[name] for name in rule.resources if name in self._ids]
        self._by_resource.add(bit, ids, stated=bool(rule.resources))
        self._by_sender.add(bit, rule.senders, stated=bool(rule.senders))
        self._by_tag.add(bit, rule.tags, stated=bool(rule.tags))
        somewhere = bool(rule.prefixes or rule.countries)
        self._by_prefix.add(bit, rule.prefixes, stated=somewhere)
        self._by_country.add(bit, rule.countries, stated=somewhere)

    def route(
        self,
        resource: ResourceId,
        sender: str,
        recipient: str,
        tag: str | None = None,
        owned_carrier: str | None = None,
    ) -> Route:
        """The carriers for a message. `owned_carrier`, to which the sender's number is bound, is the first of them."""
        return self.routes(resource, sender, (recipient,), tag, owned_carrier)[0]

    def routes(
        self,
        resource: ResourceId,
        sender: str,
        recipients: Iterable[str],
        tag: str | None = None,
        owned_carrier: str | None = None,
    ) -> list[Route]:
        """What `route` says for each of `recipients`, in order."""
        matching = self._by_resource.fulfilled(resource) & self._by_sender.fulfilled(sender)
        matching &= self._by_tag.fulfilled(tag)
        found = self._candidates.get(matching) or self._gather(matching)
        unruled = self._default if owned_carrier is None else Route(NUMBER_RULE, (owned_carrier,))
        if not found.rules:
            return [unruled for _ in recipients]
        prefixes, countries = self._by_prefix.by_value, self._by_country.by_value
        routes: list[Route] = []
        for recipient in recipients:
            deciding = found.anywhere
            for length in found.lengths:
                deciding |= prefixes.get(recipient[:length], 0)
            if found.by_country:
                deciding |= countries.get(self._country(recipient), 0)
            deciding &= found.rules
            if not deciding:
                routes.append(unruled)
                continue
            spread = self._spreads[(deciding & -deciding).bit_length() - 1]
            deal = spread.deal(recipient)
            routes.append(deal.route(recipient) if owned_carrier is None else deal.after(owned_carrier))
        return routes

    def explain(
        self,
        resource: ResourceId,
        sender: str,
        recipient: str,
        tag: str | None = None,
        owned_carrier: str | None = None,
    ) -> Explanation:
        """What `route` says, and of each rule it looked at why it was passed over."""
        steps: list[Step] = []
        for rule in self.rules:
            why = self._passed_over(rule, resource, sender, tag)
            if why is None and not self._leads_to(rule, recipient):
                why = "it is for other destinations"
            steps.append(Step(rule.name, why))
            if why is None:
                break
        route = self.route(resource, sender, recipient, tag, owned_carrier)
        return Explanation(route, self._country(recipient), tuple(steps))

    def _passed_over(self, rule: Rule, resource: ResourceId | None, sender: str | None, tag: str | None) -> str | None:
        """Why the rule does not match, whatever the recipient is; None when it may."""
        if rule.name in self.missing:
            return "this server has none of its carriers"
        if rule.resources and (resource is None or resource not in {self._ids.get(name) for name in rule.resources}):
            return "it is for other resources"
        if rule.senders and sender not in rule.senders:
            return "it is for other senders"
        if rule.tags and tag not in rule.tags:
            return "it is for other tags"
        return None

    def _leads_to(self, rule: Rule, recipient: str) -> bool:
        anywhere = not rule.prefixes and not rule.countries
        return anywhere or recipient.startswith(rule.prefixes) or self._country(recipient) in rule.countries

    def _gather(self, matching: int) -> _Candidates:
        everywhere = matching & self._by_prefix.otherwise
        anywhere = everywhere & -everywhere
        if anywhere:
            matching &= (anywhere << 1) - 1
        rules = [spread.rule for index, spread in enumerate(self._spreads) if matching >> index & 1]
        lengths = {len(prefix) for rule in rules for prefix in rule.prefixes}
        if len(self._candidates) >= self._remembered:
            self._candidates.clear()
        found = _Candidates(matching, anywhere, tuple(lengths), any(rule.countries for rule in rules))
        self._candidates[matching] = found
        return found


def _present(rule: Rule, carriers: Collection[str]) -> list[Choice]:
    return [choice for choice in rule.carriers if choice.carrier in carriers]
