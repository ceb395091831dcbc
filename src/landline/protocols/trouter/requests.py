"""Notifications as trouter has them: HTTP requests to the client, as JSON in a message packet."""

import msgspec

_HEADERS = {"Content-Type": "application/json", "MS-CV": "0.0", "trouter-request": "{}"}


class PushedRequest(msgspec.Struct):
    """A request to the client. `url`: the path of its address and what follows it."""

    id: int
    method: str
    url: str
    headers: dict[str, str]
    body: str


_encode = msgspec.json.Encoder().encode


def pushed(number: int, url: str, body: str) -> bytes:
    """The packet that brings `body` (JSON) to the client's `url`; its answer names `number`."""
    return b"3:::" + _encode(PushedRequest(number, "POST", url, _HEADERS, body))
