"""A phone of the simulated carrier, seen from a test: read what arrived on it, answer, put it out of reach."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from landline.testing import given
from landline.testing.admin import Admin

POLL_S = 20.0
"""How long one request waits at the server for a text; a longer wait is several requests."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text message on a handset."""

    id: int
    """Grows by arrival on this handset."""
    sender: str
    text: str
    raw: dict[str, Any]
    """All that the server says about it."""


class Handset:
    """One handset, by its number (E.164). It sees the texts that arrive after this object was made."""

    def __init__(self, admin: Admin, number: str, *, home: str) -> None:
        self._admin = admin
        self.number = given.text("number", number, such_as="+14255550123")
        self._home = home
        self._path = "/handsets/" + quote(number, safe="")
        earlier = self._read(after=0, wait_s=0)
        self._start = max((text.id for text in earlier), default=0)
        self._seen = self._start

    @property
    def inbox(self) -> list[Text]:
        """All texts since this object was made, oldest first."""
        return self._read(after=self._start, wait_s=0)

    def wait_for_sms(self, *, timeout: float = 30.0, where: Callable[[Text], bool] | None = None) -> Text:
        """The next text that no earlier call returned or passed over and that `where` accepts.

        Raises `TimeoutError` when none came within `timeout` seconds.
        """
        given.judge("where", where)
        deadline = time.monotonic() + given.seconds("timeout", timeout)
        passed: list[str] = []
        while True:
            left = deadline - time.monotonic()
            for text in self._read(after=self._seen, wait_s=min(max(left, 0.0), POLL_S)):
                self._seen = text.id
                if where is None or where(text):
                    return text
                passed.append(text.text)
            if left <= 0:
                came = f"; passed over: {passed}" if passed else ""
                raise TimeoutError(f"no such text came to {self.number} within {timeout} s{came}")

    def send(self, text: str, *, to: str | None = None) -> str:
        """Send `text` from this handset, to the resource's own number unless `to` names another; the message's id, as
        in its `SMSReceived` event. Raises `AdminError` when nobody has that number, or the handset cannot text."""
        return self._admin.call("POST", f"{self._path}:text", {"to": to or self._home, "text": text})["messageId"]

    def reply(self, text: str) -> str:
        """Answer the last text that arrived, to whoever sent it; as `send`. Raises `LookupError` when none has."""
        arrived = self.inbox
        if not arrived:
            raise LookupError(f"nothing has arrived on {self.number} to reply to")
        return self.send(text, to=arrived[-1].sender)

    def behave(self, behaviour: str = "answers", **details: Any) -> None:
        """From now on it `answers`, is `roaming`, is a `landline`, is `slow`, `rejects` or stays `silent`.

        `details`: `after` and `jitter` (seconds), `code` and `at` of a rejection, `autoReplies` and `autoReplyAfter`.
        """
        self._admin.call("PUT", self._path, {"behaviour": behaviour, **details})

    def _read(self, *, after: int, wait_s: float) -> list[Text]:
        query = {"after": after, "wait": round(wait_s, 3)}
        found = self._admin.call("GET", f"{self._path}/inbox", query=query, timeout_s=wait_s + 30)["value"]
        return [Text(int(one["id"]), one["from"], one["text"], one) for one in found]
