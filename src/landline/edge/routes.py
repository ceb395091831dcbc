"""The route table: templates like `/identities/{id}/:issueAccessToken` matched on the raw path.

Segments are split before they are decoded, because an id in a path may itself hold `%2F`, and because clients send the
same id encoded or not (acs-wire.md 3).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from landline.core.errors import NoSuchPath, Refusal
from landline.edge.http import Request, Response

Handler = Callable[[Request], Awaitable[Response]]


class Access(Enum):
    """Which proofs of identity a route takes."""

    NONE = "none"
    SERVICE = "service"
    """An access key's signature or a service token (acs-wire.md 2.1, 2.2)."""
    USER = "user"
    """A communication user's token (2.3)."""
    ADMIN = "admin"
    """The admin API's token."""


class ErrorStyle(Enum):
    """How a service writes its error bodies (acs-wire.md 3 and 4.6)."""

    ACS = "acs"
    """`{"error": {"code", "message", ...}}`"""
    SMS = "sms"
    """Validation as `{type, title, status, errors, traceId}`, the rest as ACS, 404 as an RFC 9110 problem."""


class MethodNotAllowed(Refusal):
    """The path is known, the method is not one of its methods."""

    status = 405
    code = "MethodNotAllowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__("The method is not allowed on this path.")
        self.allowed = sorted(allowed)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: where it is, who may call it, what it does."""

    method: str
    template: str
    handler: Handler
    access: Access = Access.SERVICE
    errors: ErrorStyle = ErrorStyle.ACS
    versioned: bool = True
    """Whether the request must carry `api-version`."""
    supports: str = ""
    """The api-versions it is known to serve, oldest first, as `api-supported-versions` tells them; older ones are
    refused, whatever lies between and beyond is served like them."""
    name: str = ""
    """The operation's name in metrics and logs, by the SDKs' own name for it."""


def admin_route(method: str, template: str, handler: Handler, name: str) -> Route:
    """An operation of the admin API: it needs the API's token and no `api-version`. `name` as `Route` has it, written
    as the SDKs write theirs: `Resources_RotateKey`."""
    return Route(method, template, handler, access=Access.ADMIN, versioned=False, name=name)


@dataclass(slots=True)
class _Node:
    fixed: "dict[str, _Node]"
    pattern: "list[tuple[str, str, str, _Node]]"
    """(text before, parameter name, text after, node), the longest fixed text first."""
    routes: dict[str, Route]


class Router:
    """Finds the route of a request in a tree of path segments; a fixed segment wins over a parameter."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _node()
        self._plain: dict[tuple[str, str], Route] = {}
        """Those without parameters, by method and path: most requests are of them."""
        self.routes = list(routes)
        for route in self.routes:
            self._add(route)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its decoded parameters. Raises `NoSuchPath` or `MethodNotAllowed`."""
        plain = self._plain.get((method, raw_path))
        if plain is not None:
            return plain, {}
        segments = [unquote(segment) for segment in raw_path.removeprefix("/").split("/")]
        allowed: set[str] = set()
        found = _walk(self._root, segments, 0, {}, method, allowed)
        if found is not None:
            return found
        if allowed:
            raise MethodNotAllowed(allowed)
        raise NoSuchPath()

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.template.removeprefix("/").split("/"):
            node = _child(node, segment)
        assert route.method not in node.routes, f"two routes for {route.method} {route.template}"
        node.routes[route.method] = route
        if "{" not in route.template:
            self._plain[route.method, route.template] = route


def _node() -> _Node:
    return _Node({}, [], {})


def _child(node: _Node, segment: str) -> _Node:
    if "{" not in segment:
        return node.fixed.setdefault(segment, _node())
    before, _, rest = segment.partition("{")
    name, _, after = rest.partition("}")
    for known_before, known_name, known_after, child in node.pattern:
        if (known_before, known_name, known_after) == (before, name, after):
            return child
    child = _node()
    node.pattern.append((before, name, after, child))
    node.pattern.sort(key=lambda entry: -len(entry[0] + entry[2]))
    return child


def _walk(
    node: _Node, segments: list[str], depth: int, params: dict[str, str], method: str, allowed: set[str]
) -> tuple[Route, dict[str, str]] | None:
    if depth == len(segments):
        route = node.routes.get(method)
        allowed.update(node.routes)
        return (route, params) if route else None
    segment = segments[depth]
    fixed = node.fixed.get(segment)
    if fixed is not None:
        found = _walk(fixed, segments, depth + 1, params, method, allowed)
        if found is not None:
            return found
    for before, name, after, child in node.pattern:
        middle = len(segment) - len(before) - len(after)
        if middle > 0 and segment.startswith(before) and segment.endswith(after):
            value = segment[len(before) : len(before) + middle]
            found = _walk(child, segments, depth + 1, {**params, name: value}, method, allowed)
            if found is not None:
                return found
    return None
