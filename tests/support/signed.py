"""Raw requests signed with an access key (acs-wire.md 2.1), for what the official SDKs cannot be made to send."""

import base64
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

SMS_VERSION = "2026-01-23"
IDENTITY_VERSION = "2023-10-01"


def http_date(at: datetime | None = None) -> str:
    """`at` (now when None) as HTTP writes dates."""
    return format_datetime((at or datetime.now(UTC)).replace(microsecond=0), usegmt=True)


def signed_headers(
    key: str, host: str, method: str, target: str, body: bytes = b"", *, at: datetime | None = None
) -> dict[str, str]:
    """The four headers that prove a request; `key` as in the connection string, `target` as sent on the wire."""
    date = http_date(at)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"{method}\n{target}\n{date};{host};{digest}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()
    return {
        "host": host,
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}",
    }


def sms_body(sender: str, recipients: list[str | dict[str, str]], message: str, **options: Any) -> dict[str, Any]:
    """A send request; a recipient given as text gets repeatability ids of its own, as the SDKs do it."""
    items = [
        {"to": one, "repeatabilityRequestId": str(uuid4()), "repeatabilityFirstSent": http_date()}
        if isinstance(one, str)
        else one
        for one in recipients
    ]
    options = {"enableDeliveryReport": True, **options}
    return {"from": sender, "smsRecipients": items, "message": message, "smsSendOptions": options}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object of an ACS error body."""
        return self.json()["error"]

    def __str__(self) -> str:
        return f"{self.status} {self.body.decode(errors='replace')}"


class Raw:
    """Requests to one endpoint: signed unless other headers are given. One connection each."""

    def __init__(self, endpoint: str, key: str, ca_bundle: str | None = None) -> None:
        self.endpoint = endpoint
        self.key = key
        parts = urlsplit(endpoint)
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname or "localhost", parts.port or (443 if self.secure else 80)
        self.host_header = parts.netloc
        self._context = ssl.create_default_context(cafile=ca_bundle) if self.secure else None

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Send exactly this. Raises `OSError` or `http.client.HTTPException` when no answer comes."""
        connection: HTTPConnection
        if self._context is not None:
            connection = HTTPSConnection(self.host, self.port, timeout=timeout_s, context=self._context)
        else:
            connection = HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            sent = {"host": self.host_header, "content-length": str(len(body)), **(headers or {})}
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            answer = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answer, response.read())
        finally:
            connection.close()

    def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        version: str | None = SMS_VERSION,
        at: datetime | None = None,
    ) -> Answer:
        """Send JSON, signed at `at`, with an api-version."""
        joint = "&" if "?" in path else "?"
        target = path if version is None else f"{path}{joint}api-version={version}"
        body = b"" if value is None else json.dumps(value).encode()
        headers = signed_headers(self.key, self.host_header, method, target, body, at=at)
        return self.send(method, target, body, {**headers, "content-type": "application/json"})

    def send_sms(self, sender: str, recipients: list[str | dict[str, str]], message: str, **options: Any) -> Answer:
        """`POST /sms`."""
        return self.call("POST", "/sms", sms_body(sender, recipients, message, **options))
