"""The target of a request as it came (RFC 9112 §3.2)."""

import httptools


def read(url: bytes, headers: dict[str, str]) -> str:
    """Path and query as sent, of a target in origin form or absolute form; the host that the latter names is the one
    that counts (§3.2.2): it takes its place in `headers`."""
    if not url.startswith(b"/") or b"#" in url:
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return url.decode("latin-1")
        if parsed.host and "host" in headers:
            headers["host"] = _authority(url)
        url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    return url.decode("latin-1")


def _authority(url: bytes) -> str:
    """The host and port that a target in absolute form names."""
    authority = url.partition(b"//")[2].replace(b"?", b"/").replace(b"#", b"/").partition(b"/")[0]
    return authority.rpartition(b"@")[2].decode("latin-1")
