"""The admin routes of messages and sender pools: sending with every option, taking back, telling reports again."""

from collections.abc import Awaitable, Callable

import msgspec

from landline.core.errors import Invalid
from landline.core.ids import ResourceId, ResourceNamed
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.sms.model.messages import Outcome
from landline.services.sms.model.pools import Pool
from landline.services.sms.outgoing import Outgoing
from landline.services.sms.pools import Pools
from landline.services.sms.service import Options, Sms, To
from landline.wire import messages

_SEND = msgspec.json.Decoder(messages.MessageToSend)
_PUSH = msgspec.json.Decoder(messages.ReportsToPush)
_POOL = msgspec.json.Decoder(messages.SenderPool)


def routes(
    service: Sms,
    outgoing: Outgoing,
    pools: Pools,
    resource_named: ResourceNamed,
    all_resources: Callable[[], Awaitable[list[ResourceId]]],
) -> list[Route]:
    """The admin operations."""

    async def send(request: Request) -> Response:
        """Accept a text for each recipient; it is answered as ACS answers a send."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_SEND)
        options = Options(
            report_wanted=asked.enable_delivery_report,
            tag=asked.tag,
            send_at=asked.send_at,
            valid_for_s=asked.validity_seconds,
            smart_encoding=asked.smart_encoding,
        )
        try:
            outcomes = await service.send(
                resource, asked.from_, [To(number) for number in asked.to], asked.message, options
            )
        except Invalid as error:
            if error.target != "smsRecipients":
                raise
            raise Invalid(error.message, target="to") from None  # as it is called here
        return json_response(202, messages.SentMessages([_sent(outcome) for outcome in outcomes]))

    async def cancel(request: Request) -> Response:
        """Take back a message that no carrier has yet."""
        await outgoing.cancel(await all_resources(), request.params["messageId"])
        return Response(204)

    async def push(request: Request) -> Response:
        """Tell the subscriptions there are now the report of an ended message once more."""
        await outgoing.push(await all_resources(), request.params["messageId"])
        return Response(202)

    async def push_all(request: Request) -> Response:
        """Tell the reports of all messages accepted in a time once more; in portions."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_PUSH)
        pushed, after = await outgoing.push_all(resource, asked.since, asked.until, asked.after)
        return json_response(202, messages.PushedReports(pushed, after))

    return [
        admin_route("POST", "/resources/{name}/messages", send, "Messages_Send"),
        admin_route("DELETE", "/messages/{messageId}", cancel, "Messages_Cancel"),
        admin_route("POST", "/messages/{messageId}/report:push", push, "Messages_PushReport"),
        admin_route("POST", "/resources/{name}/reports:push", push_all, "Messages_PushReports"),
        *_pool_routes(pools, resource_named),
    ]


def _pool_routes(pools: Pools, resource_named: ResourceNamed) -> list[Route]:
    async def show_all(request: Request) -> Response:
        """The sender pools of a resource."""
        found = await pools.all_of(await resource_named(request.params["name"]))
        return json_response(200, messages.SenderPools([_shown(pool) for pool in found]))

    async def show(request: Request) -> Response:
        """One sender pool."""
        found = await pools.get(await resource_named(request.params["name"]), request.params["pool"])
        return json_response(200, _shown(found))

    async def put(request: Request) -> Response:
        """Make a pool, or make it so."""
        resource = await resource_named(request.params["name"])
        asked = request.decode(_POOL)
        if asked.name not in (None, request.params["pool"]):
            raise Invalid("The path names another pool.", target="name")
        pool = Pool(request.params["pool"], tuple(asked.senders), asked.sticky is not False)
        await pools.put(resource, pool)
        return json_response(200, _shown(pool))

    async def remove(request: Request) -> Response:
        """Delete a sender pool; its numbers stay the resource's."""
        await pools.remove(await resource_named(request.params["name"]), request.params["pool"])
        return Response(204)

    one = "/resources/{name}/sms/pools/{pool}"
    return [
        admin_route("GET", "/resources/{name}/sms/pools", show_all, "Pools_List"),
        admin_route("GET", one, show, "Pools_Get"),
        admin_route("PUT", one, put, "Pools_Put"),
        admin_route("DELETE", one, remove, "Pools_Delete"),
    ]


def _shown(pool: Pool) -> messages.SenderPool:
    return messages.SenderPool(list(pool.senders), pool.sticky, pool.name)


def _sent(outcome: Outcome) -> messages.SentMessage:
    return messages.SentMessage(outcome.to, outcome.status, outcome.status == 202, outcome.message_id, outcome.error)
