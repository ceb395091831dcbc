"""The admin route that lists messages: `GET /resources/{name}/messages`."""

from landline.core.ids import ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.ports.clock import Clock
from landline.services.sms import search
from landline.services.sms.model import messages
from landline.services.sms.model.messages import State
from landline.services.sms.search import Search
from landline.store.database import Record
from landline.wire.base import timestamp
from landline.wire.messages import FoundMessage, FoundMessages


def routes(found: Search, clock: Clock, resource_named: ResourceNamed) -> list[Route]:
    """The admin operations."""

    async def show(request: Request) -> Response:
        """Messages of a time, newest first, by sender, recipient, tag, carrier, state and code."""
        resource = await resource_named(request.params["name"])
        asked = search.read(request.query, resource, clock.now())
        page = await found.page(resource, asked)
        shown = [(_incoming if asked.incoming else _outgoing)(row) for row in page.rows]
        return json_response(200, FoundMessages(shown, page.token))

    return [admin_route("GET", "/resources/{name}/messages", show, "Messages_List")]


def _outgoing(row: Record) -> FoundMessage:
    ended_at = row["ended_at"]
    return FoundMessage(
        message_id=messages.outgoing_id(row["message_id"], row["accepted_at"]),
        direction="outgoing",
        state=State(row["state"]).name.lower(),
        from_=row["sender"],
        to=row["recipient"],
        segments=row["segments"],
        carrier=row["carrier"],
        tag=row["tag"],
        code=row["code"],
        accepted_at=timestamp(row["accepted_at"]),
        ended_at=None if ended_at is None else timestamp(ended_at),
    )


def _incoming(row: Record) -> FoundMessage:
    return FoundMessage(
        message_id=messages.incoming_id(row["message_id"], row["received_at"]),
        direction="incoming",
        state="received",
        from_=row["sender"],
        to=row["recipient"],
        segments=row["segments"],
        carrier=row["carrier"],
        tag=row["tag"],
        received_at=timestamp(row["received_at"]),
        keyword=row["keyword"],
    )
