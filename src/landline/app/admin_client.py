"""The admin API of a running server, as Landline's own commands use it: found by its data directory, spoken to with
the standard library."""

import json
import os
import re
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

from landline.app import ready
from landline.app.config import default_data
from landline.app.config_values import expanded
from landline.app.ready import Ready
from landline.core.errors import NoSuchPath, Refusal

TIMEOUT_S = 70.0
_START = "start one with `landline dev` or `landline serve`"


class CannotAsk(Refusal):
    """There is no server to ask, or it refused."""

    code = "CannotAsk"


class AdminClient:
    """One server's admin API."""

    def __init__(
        self, url: str, token: str, found: Ready | None = None, *, typed: Mapping[str, str] | None = None
    ) -> None:
        """`found` is what the server wrote about itself, when it was found by that; `typed` is by which name its
        user typed each field of what is asked, for refusals to say."""
        self.url = url
        self.found = found
        self._token = token
        self._typed = typed or {}

    def get(self, *path: str) -> Any:
        """The answer to GET; `path` is the segments, unquoted."""
        return self.call("GET", _path(path))

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The decoded answer; `path` is quoted. Raises `CannotAsk`, saying in one line what to do."""
        status, answer = self._answer(method, path, _text(body) if body is not None else None)
        decoded = self._decoded(answer)
        if status >= 400:
            raise CannotAsk(self._refusal(status, decoded))
        return decoded

    def send(self, path: str, text: str) -> Any:
        """The decoded answer to POST of `text` as it is; `path` is quoted. Raises `CannotAsk`."""
        status, answer = self._answer("POST", path, text)
        decoded = self._decoded(answer)
        if status >= 400:
            raise CannotAsk(self._refusal(status, decoded))
        return decoded

    def text(self, path: str) -> str:
        """The answer to GET as it is; `path` is quoted. Raises `CannotAsk`."""
        status, answer = self._answer("GET", path, None)
        if status >= 400:
            raise CannotAsk(self._refusal(status, self._decoded(answer)))
        return answer.decode()

    def health(self) -> dict[str, Any]:
        """What `/healthz` answers, well or not. Raises `CannotAsk` when it does not answer."""
        status, answer = self._answer("GET", "/healthz", None)
        health = self._decoded(answer)
        if not isinstance(health, dict) or "checks" not in health:
            raise CannotAsk(self._refusal(status, health))
        return cast(dict[str, Any], health)

    def _decoded(self, answer: bytes) -> Any:
        try:
            return json.loads(answer) if answer else None
        except ValueError as error:
            raise CannotAsk(f"what answers at {self.url} is no Landline: correct the admin URL") from error

    def _answer(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        try:
            return self._exchange(method, path, body)
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message
            raise CannotAsk(
                f"the certificate of {self.url} is not trusted ({why}): have SSL_CERT_FILE name its authority, or"
                " correct the admin URL"
            ) from error
        except (OSError, HTTPException) as error:
            if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":  # what came is no TLS
                said = "speaks plain HTTP: write http:// in place of https://"
                raise CannotAsk(f"what answers at {self.url} {said}") from error
            raise CannotAsk(f"no server answers at {self.url} ({error or type(error).__name__}): {_START}") from error

    def _refusal(self, status: int, answer: Any) -> str:
        target = _target(answer)
        if status == 401 and not target:  # a sender that is not the resource's is one, too
            return "the server does not take this admin token: give the one in its data directory's server.json"
        try:
            message = str(answer["error"]["message"])
            if status == 404 and message == NoSuchPath.MESSAGE:
                return (
                    f"the server at {self.url} does not serve this: its admin URL is another one, or it does without"
                    " (handsets are the simulated carrier's)"
                )
        except (TypeError, KeyError):
            return f"the server answered with status {status}"
        if not target:
            return message
        field = re.split(r"[.\[]", str(target), maxsplit=1)[0]  # `addresses[0]` was typed as `addresses` are
        return f"{self._typed.get(field, target)}: {message}"

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S)
        try:
            headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
            path = parts.path + path  # a proxy may have it below a path
            connection.request(method, path, body.encode() if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def find(data: Path | None, url: str | None, token: str | None, typed: Mapping[str, str] | None = None) -> AdminClient:
    """The server at `url` with `token`, else the one that runs on `data`; without either the one that the environment
    names (LANDLINE_ADMIN_URL, LANDLINE_ADMIN_TOKEN), else the one in a default directory. `typed`: as `AdminClient` has
    it. Raises `CannotAsk`."""
    url = url or (os.environ.get("LANDLINE_ADMIN_URL") if data is None else None)
    if url:
        token = token or os.environ.get("LANDLINE_ADMIN_TOKEN")
        if not token:
            raise CannotAsk("an admin URL needs its token: give --admin-token or LANDLINE_ADMIN_TOKEN")
        return AdminClient(_address(url), _token(token), typed=typed)
    return here(data, token, typed)


def _address(url: str) -> str:
    """`url` without the / at its end. Raises `CannotAsk` when it is none."""
    try:
        parts = urlsplit(url.strip())
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise CannotAsk(f"{url} is no admin URL: one is like http://127.0.0.1:9443")
    return url.strip().rstrip("/")


def _token(text: str) -> str:
    """`text` as a header takes it. Raises `CannotAsk`; never shows it."""
    token = text.strip()
    if not (token.isascii() and token.isprintable()):
        raise CannotAsk("the admin token has characters that no token has: give the one in server.json")
    return token


def here(data: Path | None, token: str | None = None, typed: Mapping[str, str] | None = None) -> AdminClient:
    """The server that runs on `data`, or LANDLINE_DATA, or a default directory of this machine. Raises `CannotAsk`."""
    named = data or (Path(os.environ["LANDLINE_DATA"]) if os.environ.get("LANDLINE_DATA") else None)
    places = [expanded(named, "--data")] if named else [default_data("dev"), default_data("serve")]
    for place in places:
        found = ready.of(place)
        if found is not None:
            return AdminClient(found.admin_url, _token(token) if token else found.admin_token, found, typed=typed)
        if ready.is_hidden(place / ready.IN_DATA):
            raise CannotAsk(
                f"{place} is another user's: ask as that one, or give --admin-url and --admin-token of the server there"
            )
    shown = " or ".join(str(place) for place in places)
    raise CannotAsk(f"no server runs on {shown}: {_START}, or give its --data or --admin-url")


def quoted(*segments: str) -> str:
    """A path of these segments, each percent-encoded."""
    return _path(segments)


def _text(body: Mapping[str, object]) -> str:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False)  # so that what is not UTF-8 is found out here
    except ValueError:
        raise CannotAsk("no amount, rate or limit may be NaN or infinite: give a number") from None


def _path(segments: tuple[str, ...]) -> str:
    if not all(segments):  # by this path the server would be asked for something else
        raise CannotAsk("a name, number or id that was given is empty: see that the shell's variable for it is set")
    return "".join("/" + quote(segment, safe="") for segment in segments)


def _target(answer: Any) -> Any:
    try:
        return answer["error"]["target"]
    except (TypeError, KeyError):
        return None
