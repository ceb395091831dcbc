"""A webhook on loopback that keeps what it is sent: subscribe it to a resource's events and wait for them.

It answers both handshakes (Event Grid's validation event and CloudEvents' OPTIONS), and can be told to fail first.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from landline.testing import given

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
BODY_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was posted, in either schema."""

    type: str
    id: str
    subject: str
    data: dict[str, Any]
    raw: dict[str, Any]
    """The whole envelope."""
    headers: dict[str, str]
    """Of the request it came in; names in lower case."""


class Inbox:
    """A running receiver; `close` it. Events posted again (the same id) are kept again: `events` shows every post."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._failures: deque[tuple[int, int]] = deque()
        """Statuses, and how often each is to be answered."""
        self._tries = 0
        self._seen: set[str] = set()
        self._on_close: Callable[[], None] | None = None
        self._server = _Receiver(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="inbox")
        self._thread.start()

    @property
    def events(self) -> list[Event]:
        """Every event taken so far, in order of arrival."""
        with self._changed:
            return list(self._events)

    @property
    def tries(self) -> int:
        """How many posts of events came, the failed ones included."""
        with self._changed:
            return self._tries

    def fail(self, times: int = 1, *, status: int = 503) -> None:
        """Answer the next `times` posts of events with `status` and keep nothing of them. Raises `ValueError`."""
        given.count("times", times)
        if not 300 <= given.whole("status", status) < 600:
            raise ValueError(f"status is one that a failing webhook answers, from 300 to 599, not {status}")
        with self._changed:
            if times:
                self._failures.append((status, times))

    def recover(self) -> None:
        """Fail no more, however often it still was to."""
        with self._changed:
            self._failures.clear()

    def wait_for(
        self, event_type: str, *, where: Callable[[dict[str, Any]], bool] | None = None, timeout: float = 30.0
    ) -> Event:
        """The next event of `event_type` whose data `where` accepts and that no earlier call returned.

        Raises `TimeoutError` when none came within `timeout` seconds.
        """
        return self.wait_for_all(event_type, 1, where=where, timeout=timeout)[0]

    def wait_for_all(
        self,
        event_type: str,
        count: int,
        *,
        where: Callable[[dict[str, Any]], bool] | None = None,
        timeout: float = 30.0,
    ) -> list[Event]:
        """`count` such events, each with its own id. Raises `TimeoutError`."""
        given.text("event_type", event_type, such_as="Microsoft.Communication.SMSReceived")
        given.count("count", count)
        given.judge("where", where)
        given.seconds("timeout", timeout)
        found: dict[str, Event] = {}
        place = 0
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self._events[place:]:
                    fits = event.type == event_type and event.id not in self._seen
                    if fits and (where is None or where(event.data)) and len(found) < count:
                        found.setdefault(event.id, event)
                place = len(self._events)
                if len(found) >= count:
                    self._seen.update(found)
                    return list(found.values())
                if not self._changed.wait(max(deadline - time.monotonic(), 0)) and time.monotonic() >= deadline:
                    raise TimeoutError(self._missed(event_type, len(found), count, timeout))

    def _missed(self, event_type: str, found: int, count: int, timeout: float) -> str:
        """What `wait_for_all` says: most often the type is misspelt, or `where` fits nothing of what did come."""
        came = Counter(event.type for event in self._events if event.id not in self._seen)
        rest = ", ".join(f"{number} {kind}" for kind, number in came.items()) or "nothing"
        return f"{found} of {count} {event_type} came within {timeout} s; not waited for so far: {rest}"

    def on_close(self, action: Callable[[], None]) -> None:
        """Have `close` do `action` first."""
        self._on_close = action

    def close(self) -> None:
        """Unsubscribe and stop listening; a second call does nothing."""
        action, self._on_close = self._on_close, None
        if action is not None:
            action()
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The answer (status, headers, body) to one post."""
        posted: Any = json.loads(body)
        envelopes = cast("list[dict[str, Any]]", posted if isinstance(posted, list) else [posted])
        if envelopes and envelopes[0].get("eventType") == VALIDATION:
            answer = {"validationResponse": envelopes[0]["data"]["validationCode"]}
            return 200, {"content-type": "application/json"}, json.dumps(answer).encode()
        with self._changed:
            self._tries += 1
            status = self._fate()
            if status < 300:
                self._events.extend(_event(envelope, headers) for envelope in envelopes)
            self._changed.notify_all()
        return status, {}, b""

    def _fate(self) -> int:
        """The status of the next answer."""
        if not self._failures:
            return 200
        status, times = self._failures.popleft()
        if times > 1:
            self._failures.appendleft((status, times - 1))
        return status


def _event(envelope: dict[str, Any], headers: dict[str, str]) -> Event:
    kind = envelope.get("eventType") or envelope.get("type") or ""
    return Event(kind, envelope.get("id", ""), envelope.get("subject", ""), envelope.get("data", {}), envelope, headers)


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.inbox = inbox
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that goes away (it may be killed by the test) is no news; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Also ends the connections a sender keeps open, so that nothing more is taken."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60.0
    disable_nagle_algorithm = True
    server: _Receiver  # type: ignore[assignment]  # the base declares its own, wider class

    def do_POST(self) -> None:
        length = min(int(self.headers.get("content-length") or 0), BODY_LIMIT_BYTES)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            status, extra, answer = self.server.inbox.take(self.rfile.read(length), headers)
        except (ValueError, KeyError, AttributeError):
            status, extra, answer = 400, {}, b""
        self._answer(status, extra, answer)

    def do_OPTIONS(self) -> None:
        # CloudEvents webhooks 4.2: consent is the origin given back.
        origin = self.headers.get("webhook-request-origin", "*")
        self._answer(200, {"webhook-allowed-origin": origin, "webhook-allowed-rate": "*", "allow": "POST"}, b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
