"""One setting's value: read from text, as the environment has it, converted, and checked; what is wrong is said in one
line."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec

from landline.core import decode_errors
from landline.core.errors import Invalid, Refusal
from landline.services.sms.model.settings import EVERY_COUNTRY, checked_countries

_SETTING = re.compile(r"`\$\.(\w+)(.*)`")
"""Where msgspec says that something is wrong."""


class CannotConfigure(Refusal):
    """A setting is unknown or has a value it may not have."""

    code = "CannotConfigure"


def from_text(kind: msgspec.inspect.Type, text: str, variable: str, *, as_tables: bool) -> object:
    """The `kind` of value that `variable` writes as text: lists parted by commas, tables as JSON, no value as nothing.
    `as_tables`: a list of tables. Raises `CannotConfigure`."""
    if not is_text(text):
        raise CannotConfigure(f"{variable} is not UTF-8")
    if _takes(kind, msgspec.inspect.VarTupleType) and not as_tables:
        return [part.strip() for part in text.split(",") if part.strip()]
    if as_tables or _takes(kind, msgspec.inspect.DictType):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            wanted = "a JSON array of objects" if as_tables else "a JSON object"
            raise CannotConfigure(f"{variable} must be {wanted}: {error}") from error
    if _takes(kind, msgspec.inspect.BoolType) or _takes(kind, msgspec.inspect.IntType):
        plain: Any = bool if _takes(kind, msgspec.inspect.BoolType) else int
        return converted(text.strip().lower(), variable, plain, strict=False)
    return text


def converted(
    value: object, where: str, kind: Any, *, strict: bool = True, said: Mapping[str, str] | None = None
) -> Any:
    """`value` as a `kind`. Raises `CannotConfigure`, which calls a setting by what is `said` of it."""
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=path)
    except msgspec.ValidationError as error:
        what, _, at = decode_errors.told(error, kind).partition(" - at ")
        place = _SETTING.search(at)
        if place is None:
            raise CannotConfigure(f"{where}: {what}") from error
        name, inner = place.groups()
        below = f": {inner.lstrip('.')}" if inner else ""
        raise CannotConfigure(f"{(said or {}).get(name, name)}{below}: {what}") from error


def _takes(kind: msgspec.inspect.Type, wanted: type[msgspec.inspect.Type]) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _takes(kind.type, wanted)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_takes(each, wanted) for each in kind.types)
    return isinstance(kind, wanted)


def check_hosts(entries: Sequence[str], setting: str) -> None:
    """Raise `CannotConfigure` for one that is no host name, address or network: it would allow nothing."""
    for entry in entries:
        try:
            if "/" in entry:
                ip_network(entry, strict=False)
            elif ":" in entry:
                ip_address(entry.strip("[]"))
            right = entry.isprintable() and " " not in entry
        except ValueError:
            right = False
        if not right:
            raise CannotConfigure(
                f"{setting}: {entry!r} is no host name, address or network: give hooks.example, 10.1.2.3 or"
                " 10.1.0.0/16, without scheme and port"
            )


_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")
_USUAL_PORT = re.compile(r"(http:.*:80|https:.*:443)")


def check_origins(origins: Sequence[str], setting: str) -> None:
    """Raise `CannotConfigure` for one that no browser sends (Fetch standard §2.2.5): it would let nobody in."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin) or _USUAL_PORT.fullmatch(origin):
            raise CannotConfigure(
                f"{setting}: {origin!r} is no origin as browsers send it: give https://app.example.com, in small"
                " letters, without a path or a / at its end, with a port only where it is not the usual one; or *"
            )


_HOST = re.compile(r"\[[0-9a-f:.]+\]|[^\x00-\x20\x7f\s/:@?#\[\]]+")
_ISSUER = re.compile(r"https://[^\x00-\x20\x7f\s/@?#]+(/[^\x00-\x20\x7f\s?#]*)?")


def checked_domain(text: str, setting: str) -> str:
    """`text` as clients send it: Python's SDKs sign an endpoint's capitals, and letters that are not ASCII, and no HTTP
    client sends them so. Raises `CannotConfigure` for what is no host name or address."""
    host = text.lower().removesuffix(".")
    if not host.isascii():
        host = _in_ascii(host)
    if _HOST.fullmatch(host) is None:
        raise CannotConfigure(
            f"{setting}: {text!r} is no host name: give sms.example.com, without scheme, port and path"
        )
    return host


def _in_ascii(name: str) -> str:
    import idna  # few names need it

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""


def check_issuer(url: str | None, setting: str) -> None:
    """Raise `CannotConfigure` for what is no URL below which an issuer's keys can be fetched."""
    if url and _ISSUER.fullmatch(url) is None:
        raise CannotConfigure(
            f"{setting}: {url!r} is no issuer: give its https URL, as its tokens have it (`iss`), such as"
            " https://login.example.com/tenant, without query"
        )


def check_countries(codes: tuple[str, ...], setting: str) -> None:
    """Raise `CannotConfigure` for one that is no country."""
    if set(codes) - {EVERY_COUNTRY}:
        try:
            checked_countries(codes)
        except Invalid as error:
            raise CannotConfigure(f"{setting}: {error.message}") from None


def expanded(value: str | Path, said: str) -> Path:
    """`value` with its owner's home for `~`. Raises `CannotConfigure`, as by whom it is `said`, where there is none: an
    unknown user without HOME has no home."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise CannotConfigure(f"{said}: {value} is in a home directory, and there is none") from None


def path(kind: type, value: object) -> object:
    """`value` as a `Path`, for msgspec (`dec_hook`). Raises `ValueError`, in msgspec's kind of words."""
    if kind is not Path or not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    if not is_text(value) or "\0" in value:  # neither PostgreSQL nor the ready file could name it
        raise ValueError("expected a path in UTF-8")
    return Path(value)


def is_text(value: str) -> bool:
    """Whether it is text at all: the system gives bytes that are not UTF-8 as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
