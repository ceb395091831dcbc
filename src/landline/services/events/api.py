"""The one public path of events: where an endpoint's operator consents by hand, or a CloudEvents endpoint by itself."""

from uuid import UUID

from landline.core.errors import NotFound
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Route
from landline.services.events.subscriptions import Subscriptions


def routes(subscriptions: Subscriptions) -> list[Route]:
    """The validation URL; its token is the proof."""

    async def validate(request: Request) -> Response:
        try:
            subscription = UUID(request.query.get("id", ""))
        except ValueError:
            raise NotFound("Nothing waits for this validation.") from None
        rate = request.headers.get("webhook-allowed-rate")
        await subscriptions.consent(subscription, request.query.get("token", ""), rate)
        return json_response(200, {"message": "The webhook is validated."})

    return [
        Route(method, "/eventGrid/validate", validate, access=Access.NONE, versioned=False, name="ValidateWebhook")
        for method in ("GET", "POST")
    ]
