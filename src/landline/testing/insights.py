"""The insights of a running server, asked for from a test: deliverability, delivery times, replies, opt-outs."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from landline.testing import given
from landline.testing.admin import Admin

PAGE = 1000


def insights(
    admin: Admin,
    resource: str,
    *by: str,
    since: datetime | None = None,
    until: datetime | None = None,
    **where: str,
) -> dict[str, Any]:
    """The server's answer, all of its pages as one; see docs/guides/insights.md. Raises `AdminError`."""
    path = f"/resources/{quote(resource, safe='')}/insights"
    query: dict[str, Any] = {**where, "by": ",".join(given.texts("by", by)), "pageSize": PAGE}
    instants = (("from", given.instant("since", since)), ("to", given.instant("until", until)))
    query |= {name: at.isoformat() for name, at in instants if at is not None}
    found = answer = admin.call("GET", path, query=query)
    while token := answer.get("continuationToken"):
        answer = admin.call("GET", path, query={"continuationToken": token, "pageSize": PAGE})
        found["value"] += answer["value"]
    found.pop("continuationToken", None)
    return found
