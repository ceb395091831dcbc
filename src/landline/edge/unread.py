"""Why a request is not read, or not to its end."""

import re

import httptools

from landline.core.errors import NotServed, Refusal, TargetTooLong, TooLarge
from landline.edge.http import Limits

_A_METHOD = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} \S+ HTTP/1\.[01]\r?$", re.MULTILINE)

_TLS = b"\x16\x03"
"""How a client begins to agree on TLS (RFC 8446 §5.1)."""


def refusal(error: httptools.HttpParserError, data: bytes) -> Refusal:
    """Why `data` is not read: a method that the parser does not know is one all the same (RFC 9110 §9.1)."""
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _A_METHOD.search(data):
        return NotServed("There is no such method on this server.")
    if data.startswith(_TLS):  # only the log can tell: a client that waits for TLS reads no HTTP
        return Refusal("This port speaks plain HTTP, and its client speaks TLS: write http:// in place of https://.")
    return Refusal(f"This is no HTTP request: {error}.", code="BadRequest")


def too_large(limit: int) -> TooLarge:
    """Its body may have `limit` bytes."""
    return TooLarge(f"The body is over {limit} bytes.")


def too_many_headers(limit: int) -> TooLarge:
    """They may have `limit` bytes together."""
    return TooLarge(f"The request's headers are over {limit} bytes.")


def too_long_head(target_bytes: int, limits: Limits) -> Refusal:
    """The start of a request, whose path and query have `target_bytes` so far, is over what it may have."""
    if target_bytes > limits.target_bytes:
        return TargetTooLong(f"The path and query are over {limits.target_bytes} bytes.")
    return too_many_headers(limits.header_bytes)


def too_wordy() -> TooLarge:
    """What frames its body is larger than that."""
    return TooLarge("The body is in too many small chunks, or has too much behind it: send it in larger ones.")
