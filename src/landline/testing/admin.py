"""The admin API of a running server, spoken with the standard library: every helper of this package goes through it."""

import json
import ssl
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

CALL_TIMEOUT_S = 150.0
"""Above the server's own limit for the slowest call, an advance of the clock that runs many retries."""


class AdminError(Exception):
    """The server refused a call, or could not be reached. `status` is 0 when no answer came."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Admin:
    """Calls to one server's admin API. Usable from any thread; each call has its own connection."""

    def __init__(self, url: str, token: str, ca_bundle: str | None = None) -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._token = token
        self._ca_bundle = ca_bundle

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """The decoded JSON answer (None when empty). `path` has its segments already quoted. Raises `AdminError`."""
        target = self._parts.path.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        headers = {"authorization": f"Bearer {self._token}"}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        connection = self._connection(timeout_s)
        try:
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except OSError as error:
            raise AdminError(0, f"{method} {self.url}{path} got no answer: {error}") from error
        finally:
            connection.close()
        if status >= 400:
            raise AdminError(status, f"{method} {path} was answered {status}: {answer.decode(errors='replace')}")
        return json.loads(answer) if answer else None

    def _connection(self, timeout_s: float) -> HTTPConnection:
        host, port = self._parts.hostname or "localhost", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_bundle)
            return HTTPSConnection(host, port, timeout=timeout_s, context=context)
        return HTTPConnection(host, port, timeout=timeout_s)
