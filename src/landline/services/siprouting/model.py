"""Direct routing as values: trunks, ordered routes, what a patch may make of them, and which routes a number takes.

Limits are the SDKs' (acs-wire.md 6); the inner error codes are those that recordings of the service show.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from landline.core.errors import Invalid, Refusal
from landline.services.siprouting import patterns

PORTS = range(1, 65536)
TRUNKS = 250
FQDN_CHARACTERS = 249

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_DIALLED = re.compile(r"\+?[0-9]{1,24}", re.ASCII)


class BadConfiguration(Refusal):
    """The configuration that a patch asks for cannot be; nothing of it is done."""

    status = 422
    code = "UnprocessableConfiguration"

    def __init__(self, inner_code: str, message: str, *, status: int = 422) -> None:
        super().__init__("One or more request inputs are not valid.")
        self.inner = (inner_code, message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Route:
    """Where numbers that match `pattern` go. `trunks` are FQDNs, of equal rank; a route without any takes no call."""

    name: str
    pattern: str
    description: str | None = None
    trunks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A resource's direct routing: SIP signalling ports by FQDN, and the routes in the order they are tried."""

    trunks: dict[str, int] = field(default_factory=dict[str, int])
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Patch:
    """What to change; None leaves it. A trunk's port of None keeps the port it has."""

    set_trunks: dict[str, int | None] = field(default_factory=dict[str, int | None])
    drop_trunks: frozenset[str] = frozenset()
    drop_all_trunks: bool = False
    routes: tuple[Route, ...] | None = None

    @property
    def empty(self) -> bool:
        return not (self.set_trunks or self.drop_trunks or self.drop_all_trunks) and self.routes is None


def patched(present: Configuration, patch: Patch) -> Configuration:
    """`present` with `patch` done to it. Raises `BadConfiguration`; a trunk that is not there may be dropped."""
    if patch.empty:
        raise BadConfiguration("EmptyPatch", "The patch changes nothing: it has no trunks and no routes.")
    trunks = _patched_trunks(present.trunks, patch)
    routes = present.routes if patch.routes is None else tuple(_checked_routes(patch.routes))
    known = {fqdn.lower(): fqdn for fqdn in trunks}
    return Configuration(trunks, tuple(_with_trunks(route, known) for route in routes))


def taken(configuration: Configuration, number: str) -> list[Route]:
    """The routes that a call to `number` tries, in order: those that match it and have trunks.

    Inside one, trunks are tried in random order; the next is tried when all of them failed (capabilities.md, direct
    routing). Raises `Invalid` when `number` cannot be dialled.
    """
    if _DIALLED.fullmatch(number) is None:
        raise Invalid("A number has 1 to 24 digits, and + before them or not.", target="number")
    return [route for route in configuration.routes if route.trunks and patterns.matches(route.pattern, number)]


def _patched_trunks(present: dict[str, int], patch: Patch) -> dict[str, int]:
    trunks = {} if patch.drop_all_trunks else dict(present)
    spelled = {fqdn.lower(): fqdn for fqdn in trunks}  # DNS names have no case (RFC 4343)
    for fqdn in patch.drop_trunks:
        trunks.pop(spelled.get(fqdn.lower(), fqdn), None)
    for fqdn, port in patch.set_trunks.items():
        name = spelled.setdefault(_checked_fqdn(fqdn).lower(), fqdn)
        wanted = trunks.get(name) if port is None else port
        if wanted is None or wanted not in PORTS:
            raise BadConfiguration("InvalidTrunkSipSignalingPort", f"Trunk {fqdn}: the port must be 1 to 65535.")
        trunks[name] = wanted
    if len(trunks) > TRUNKS:
        raise BadConfiguration("TooManyTrunks", f"A resource has at most {TRUNKS} trunks.")
    return trunks


def _checked_fqdn(fqdn: str) -> str:
    """`fqdn` when it is a fully qualified host name (RFC 1123 §2.1), at least two labels and no address."""
    labels = fqdn.split(".")
    good = (
        1 <= len(fqdn) <= FQDN_CHARACTERS
        and len(labels) >= 2
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )
    if not good:
        raise BadConfiguration("InvalidTrunkFqdn", "A trunk's name is the fully qualified name of its host.")
    return fqdn


def _checked_routes(routes: Sequence[Route]) -> Iterator[Route]:
    names: set[str] = set()
    for route in routes:
        if not route.name.strip():
            raise BadConfiguration("InvalidRouteName", "A route has no name.")
        if route.name in names:
            raise BadConfiguration("DuplicatedRoute", f"Two routes are called {route.name}.", status=400)
        names.add(route.name)
        try:
            patterns.check(route.pattern)
        except patterns.Unusable as error:
            message = f"Route {route.name}: the number pattern cannot be used: {error}."
            raise BadConfiguration("InvalidRouteNumberPattern", message) from None
        yield route


def _with_trunks(route: Route, known: dict[str, str]) -> Route:
    """`route` with its trunks spelled as the trunks are. Raises `BadConfiguration` when one is not there."""
    folded = [fqdn.lower() for fqdn in route.trunks]
    if len(set(folded)) < len(folded):
        message = f"Route {route.name} names a trunk twice."
        raise BadConfiguration("RouteWithDuplicatedTrunk", message, status=400)
    for fqdn, name in zip(route.trunks, folded, strict=True):
        if name not in known:
            raise BadConfiguration("MissingTrunk", f"Route {route.name} targets the missing trunk {fqdn}.")
    return Route(route.name, route.pattern, route.description, tuple(known[name] for name in folded))
