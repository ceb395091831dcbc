"""Service bearer tokens (acs-wire.md 2.2): JWTs of an OIDC issuer the operator configured, such as Microsoft Entra.

Algorithms are pinned by the key's own type, so a token cannot choose how it is checked (RFC 8725 §3.1).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import jwt
import msgspec
import structlog
from jwt.types import Options

from landline.core.errors import Refusal, Unauthorized, Unavailable
from landline.ports.callout import Callout, CalloutFailed

log = structlog.get_logger()

AUDIENCE = "https://communication.azure.com/"
"""The audience of tokens for the SDKs' scope `https://communication.azure.com//.default`."""
LEEWAY_S = 60.0
_FETCH_TIMEOUT_S = 5.0
_FRESH_S = 3600.0
_RETRY_S = 10.0
_BODY_LIMIT = 1 << 20
_KEPT = 1024
_KEPT_S = 300.0
_TOKEN_LIMIT = 16_384
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""Of keys that are used, by what they are."""
_OPTIONS: Options = {"require": ["exp", "iss", "aud"]}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key of an issuer and the one algorithm it may be used with."""

    algorithm: str
    key: Any


class KeySource(Protocol):
    """The public keys of one issuer."""

    async def key(self, kid: str) -> VerificationKey | None:
        """The key named `kid`, or None when the issuer has none of that name. Raises `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens are taken. `clients` names the only clients (`azp`, `appid` or `sub`) that may call; empty
    lets every token in that the issuer made for our audience."""

    name: str
    """The `iss` claim, exactly."""
    keys: KeySource
    audiences: tuple[str, ...] = (AUDIENCE,)
    clients: frozenset[str] = frozenset()


class ServiceTokens:
    """Checks service tokens of the configured issuers against the machine's time."""

    def __init__(self, issuers: list[Issuer], *, now: Callable[[], float] = time.time) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._now = now
        self._kept: dict[str, float] = {}

    async def check(self, token: str) -> None:
        """Return when `token` is good for calling the service. Raises `Unauthorized`, or `Unavailable` when the
        issuer's keys cannot be had."""
        if self._kept.get(token, 0.0) > self._now():
            return
        claims = await self._claims(token)
        until = min(float(claims["exp"]) + LEEWAY_S, self._now() + _KEPT_S)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[token] = until

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _TOKEN_LIMIT:
            raise Unauthorized("The bearer token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("The bearer token is not a JWT.") from error
        named = unverified.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise Unauthorized("The bearer token is not of an issuer this server trusts.")
        kid = header.get("kid")
        key = await issuer.keys.key(kid) if isinstance(kid, str) else None
        if key is None or header.get("alg") != key.algorithm:
            raise Unauthorized("The bearer token is not signed with a key of its issuer.")
        return self._verified(token, issuer, key)

    def _verified(self, token: str, issuer: Issuer, key: VerificationKey) -> dict[str, Any]:
        now = self._now()
        options: Options = {**_OPTIONS, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=issuer.name,
                audience=_with_and_without_slash(issuer.audiences),
                options=options,
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized("The bearer token is not valid for this service.") from error
        if not _holds(claims.get("exp"), lambda at: now < at + LEEWAY_S):
            raise Unauthorized("The bearer token has expired.")
        if "nbf" in claims and not _holds(claims["nbf"], lambda at: now > at - LEEWAY_S):
            raise Unauthorized("The bearer token is not valid yet.")
        if issuer.clients and issuer.clients.isdisjoint(
            str(claims[name]) for name in ("azp", "appid", "sub") if name in claims
        ):
            raise Unauthorized("The bearer token's client is not one that may call this server.")
        return claims


def _holds(instant: object, condition: Callable[[float], bool]) -> bool:
    return isinstance(instant, int | float) and not isinstance(instant, bool) and condition(float(instant))


def _with_and_without_slash(audiences: tuple[str, ...]) -> list[str]:
    return sorted({form for audience in audiences for form in (audience.rstrip("/"), audience.rstrip("/") + "/")})


@dataclass(slots=True)
class _Fetched:
    at: float = float("-inf")
    tried_at: float = float("-inf")
    keys: Mapping[str, VerificationKey] = field(default_factory=dict[str, VerificationKey])


class RemoteKeys:
    """An issuer's keys from its JWKS over HTTPS, kept for an hour; an unknown `kid` has them fetched again, at most
    every 10 s. While the issuer is away the keys last fetched stay good. Fills `KeySource`."""

    def __init__(
        self,
        issuer: str,
        callout: Callout,
        *,
        jwks_url: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`callout` must let in the addresses of the operator's own network too: issuers are often inside."""
        for url in (issuer, jwks_url or issuer):
            if not url.startswith("https://"):
                raise Refusal(f"an issuer's keys are fetched over https only, not from {url}", target="issuer")
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._callout = callout
        self._monotonic = monotonic
        self._fetched = _Fetched()
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> VerificationKey | None:
        if self._wants_fetch(kid):
            async with self._fetching:
                if self._wants_fetch(kid):
                    await self._fetch()
        if not self._fetched.keys:
            raise Unavailable("the token issuer's keys cannot be fetched", retry_after_s=_RETRY_S)
        return self._fetched.keys.get(kid)

    def _wants_fetch(self, kid: str) -> bool:
        now = self._monotonic()
        stale = kid not in self._fetched.keys or now - self._fetched.at > _FRESH_S
        return stale and now - self._fetched.tried_at > _RETRY_S

    async def _fetch(self) -> None:
        self._fetched.tried_at = self._monotonic()
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                url = self._jwks_url or await self._discover()
                self._fetched.keys = verification_keys(await self._json(url))
                self._fetched.at = self._monotonic()
        except (CalloutFailed, TimeoutError, Refusal) as error:
            reason = error.reason if isinstance(error, CalloutFailed) else type(error).__name__
            log.warning("bearer.keys_not_fetched", issuer=self._issuer, error=reason)

    async def _discover(self) -> str:
        document = await self._json(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(url, str) or not url.startswith("https://"):
            raise Refusal("the issuer's discovery document is not its own, or names no https JWKS")
        return url

    async def _json(self, url: str) -> dict[str, Any]:
        answer = await self._callout.request(
            "GET",
            url,
            headers={"accept": "application/json"},
            timeout_s=_FETCH_TIMEOUT_S,
            answer_limit_bytes=_BODY_LIMIT + 1,
        )
        if answer.status != 200:
            raise Refusal(f"{url} answered with {answer.status}")
        if len(answer.body) > _BODY_LIMIT:
            raise Refusal(f"{url} is too long")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (ValueError, RecursionError) as error:  # what is not UTF-8 is told as that
            raise Refusal(f"{url} is not a JSON object") from error


def verification_keys(jwks: Mapping[str, Any]) -> dict[str, VerificationKey]:
    """The usable keys of a JWKS (RFC 7517) by `kid`: RSA for RS256, P-256 for ES256; all others are left out (§5).
    Raises `Refusal` when it is none."""
    entries = jwks.get("keys")
    if not isinstance(entries, list):
        raise Refusal("the issuer's answer is no JWKS: it has no list of keys")
    found: dict[str, VerificationKey] = {}
    for entry in [cast(dict[str, Any], each) for each in cast(list[object], entries) if isinstance(each, dict)]:
        kid, kind = entry.get("kid"), entry.get("kty")
        algorithm = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
        if not isinstance(kid, str) or algorithm is None:
            continue
        if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            found[kid] = VerificationKey(algorithm, jwt.PyJWK(entry, algorithm).key)
        except (jwt.PyJWTError, ValueError):
            log.warning("bearer.key_not_usable", kid=kid)
    return found
