"""The admin routes of the driven clock: what time it is, and moving it ahead (`dev` only)."""

from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from landline.core.errors import NotServed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.engines.clock import DrivenClock
from landline.ports.clock import Clock
from landline.wire.base import Wire, timestamp


class Advance(Wire, forbid_unknown_fields=True):
    seconds: Annotated[float, Meta(ge=0, le=366 * 86_400)]


_ADVANCE = msgspec.json.Decoder(Advance)


def routes(clock: Clock) -> list[Route]:
    """`GET /clock` and `POST /clock:advance`, which refuses when the clock is not driven."""

    async def show(_request: Request) -> Response:
        """What time it is for this server, and by how much it was driven ahead."""
        ahead = clock.ahead if isinstance(clock, DrivenClock) else timedelta(0)
        return json_response(
            200,
            {
                "now": timestamp(clock.now()),
                "driven": isinstance(clock, DrivenClock),
                "aheadSeconds": ahead.total_seconds(),
            },
        )

    async def advance(request: Request) -> Response:
        """Move time ahead; answered when all that falls due on the way is done."""
        asked = request.decode(_ADVANCE)
        if not isinstance(clock, DrivenClock):
            raise NotServed("The clock of this server cannot be driven: it is not started with `landline dev`.")
        await clock.advance(timedelta(seconds=asked.seconds))
        return await show(request)

    return [
        admin_route("GET", "/clock", show, "Clock_Show"),
        admin_route("POST", "/clock:advance", advance, "Clock_Advance"),
    ]
