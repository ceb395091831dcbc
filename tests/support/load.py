"""Texts sent by unmodified SDK clients in several threads while a server dies and comes back."""

import json
import logging
import threading
from dataclasses import dataclass, field
from random import Random
from typing import Any

from azure.communication.sms import SmsClient
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from tests.support.patience import PATIENCE_S

SINGLE, BATCH = 1, 25
PAUSE_S = 2.0


@dataclass(slots=True)
class Sent:
    """One request: which of all it is in the order of their beginnings, its body as it was on the wire, and what was
    answered, if an answer came."""

    number: int
    body: bytes
    items: list[Any] = field(default_factory=list[Any])
    error: str = ""

    @property
    def acknowledged(self) -> dict[tuple[str, str], str]:
        """(recipient, text) of every message that a 202 took, with its message id."""
        text = json.loads(self.body)["message"]
        return {(item.to, text): item.message_id for item in self.items if item.successful}


class Load:
    """Sends to `numbers` from `threads` threads until `stop`. An error makes a thread wait for `resume`. `gap_s`: what
    each leaves between two requests; `report_timeout_s` is the API's deliveryReportTimeoutInSeconds, which the SDK does
    not know."""

    def __init__(
        self,
        connection_string: str,
        sender: str,
        numbers: list[str],
        *,
        seed: int,
        threads: int = 3,
        gap_s: float = 0.0,
        report_timeout_s: int | None = None,
    ) -> None:
        self._connection_string = connection_string
        self._sender = sender
        self._numbers = numbers
        self._stopping = False
        self._gap_s = gap_s
        self._report_timeout_s = report_timeout_s
        self._changed = threading.Condition()
        self._sent: list[Sent] = []
        self._begun = 0
        self._resumed = 0
        self._threads = [threading.Thread(target=self._run, args=(seed, at)) for at in range(threads)]
        logging.getLogger("azure").setLevel(logging.ERROR)

    def start(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def wait_acknowledged(self, more: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Return when `more` messages of requests that begin from now on are acknowledged. Raises `TimeoutError`."""
        with self._changed:
            first, before = self._begun, len(self._sent)

            def acknowledged() -> int:
                return sum(len(sent.acknowledged) for sent in self._sent[before:] if sent.number > first)

            if not self._changed.wait_for(lambda: acknowledged() >= more, timeout_s):
                last = self._sent[-1].error if self._sent else "nothing was sent"
                raise TimeoutError(f"{acknowledged()} of {more} were acknowledged; last: {last}")

    def resume(self) -> None:
        """The server is back."""
        with self._changed:
            self._resumed += 1
            self._changed.notify_all()

    def stop(self) -> list[Sent]:
        """Let each thread end what it is at; everything that was sent."""
        self._stopping = True
        self.resume()
        for thread in self._threads:
            thread.join()
        return self._sent

    def _run(self, seed: int, thread: int) -> None:
        random = Random(seed * 100 + thread)
        bodies: list[bytes] = []
        client = SmsClient.from_connection_string(
            self._connection_string,
            raw_request_hook=lambda request: bodies.append(_bytes(request.http_request.body)),
            per_call_policies=[] if self._report_timeout_s is None else [_ReportTimeout(self._report_timeout_s)],
        )
        number = 0
        while not self._stopping:
            number += 1
            recipients = random.sample(self._numbers, random.choice([SINGLE, SINGLE, BATCH]))
            with self._changed:
                self._begun += 1
                begun, resumed = self._begun, self._resumed
            try:
                items = client.send(
                    self._sender, recipients, f"load {seed} {thread} {number}", enable_delivery_report=True
                )
                self._note(Sent(begun, bodies[-1], items))
                self._leave_gap()
            except AzureError as error:
                self._note(Sent(begun, bodies[-1], error=str(error)))
                with self._changed:
                    self._changed.wait_for(lambda seen=resumed: self._stopping or self._resumed > seen, PAUSE_S)
            bodies.clear()

    def _leave_gap(self) -> None:
        if self._gap_s:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, self._gap_s)

    def _note(self, sent: Sent) -> None:
        with self._changed:
            self._sent.append(sent)
            self._changed.notify_all()


class _ReportTimeout(SansIOHTTPPolicy[Any, Any]):
    """Adds the option to the body before it is signed."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def on_request(self, request: PipelineRequest[Any]) -> None:
        body = json.loads(request.http_request.body)
        body["smsSendOptions"]["deliveryReportTimeoutInSeconds"] = self._seconds
        request.http_request.set_bytes_body(json.dumps(body))  # the SDK signs text


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)
