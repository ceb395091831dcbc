"""The insights on the admin API: pages of JSON, and everything as CSV."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from landline.core.errors import Invalid
from landline.core.ids import ResourceId, ResourceNamed
from landline.edge import queries
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.ports.clock import Clock
from landline.services.insights import requests, table
from landline.services.insights.questions import Question
from landline.services.insights.service import Insights
from landline.wire import insights as wire


def routes(insights: Insights, clock: Clock, resource_named: ResourceNamed, currency: str = "USD") -> list[Route]:
    """The admin operations; `currency` is what costs are in."""

    async def show(request: Request) -> Response:
        """Deliverability, delivery times, replies, opt-outs and cost by number, tag, country, carrier, hour or day."""
        resource = await resource_named(request.params["name"])
        with queries.range_of(request.query, "from", "to"):
            return await answer(request, resource)

    async def answer(request: Request, resource: ResourceId) -> Response:
        asked = requests.read(request.query, resource, clock.now())
        if _wants_csv(request):
            if asked.after is not None:
                raise Invalid("CSV comes whole: leave this out.", target="continuationToken")
            return await _csv(insights, request.params["name"], resource, asked.question)
        question = asked.question
        page = await insights.page(resource, question, after=asked.after, limit=asked.limit)
        return json_response(
            200,
            wire.Insights(
                from_=requests.hour_text(question.start),
                to=requests.hour_text(question.end),
                by=[each.value for each in question.by],
                value=[table.insight(question.by, group.place, group.figures) for group in page.groups],
                totals=table.insight((), (), page.totals),
                currency=currency if page.totals.priced else None,
                continuation_token=None if page.last is None else requests.token(resource, question, page.last),
            ),
        )

    return [admin_route("GET", "/resources/{name}/insights", show, "Insights_Show")]


def _wants_csv(request: Request) -> bool:
    wanted = request.query.get("format")
    if wanted is None:
        return "text/csv" in request.headers.get("accept", "")
    if wanted not in ("csv", "json"):
        raise Invalid("Must be json or csv.", target="format")
    return wanted == "csv"


async def _csv(insights: Insights, name: str, resource: ResourceId, question: Question) -> Response:
    lines = _lines(insights, resource, question)
    first = await anext(lines)  # what is refused is refused here, before the answer begins
    file = f"insights-{name}-{requests.hour_text(question.start)}-{requests.hour_text(question.end)}.csv"
    headers = {
        "content-type": "text/csv; charset=utf-8; header=present",
        "content-disposition": f'attachment; filename="{file.replace(":", "")}"',
    }
    return Response(200, first, headers, stream=lines)


async def _lines(insights: Insights, resource: ResourceId, question: Question) -> AsyncGenerator[bytes]:
    async with aclosing(insights.export(resource, question)) as groups:
        first = await anext(groups, None)  # never a tuple: CPython gh-128078
        yield table.header(question.by) + table.lines(question.by, first or ())
        async for following in groups:
            yield table.lines(question.by, following)
