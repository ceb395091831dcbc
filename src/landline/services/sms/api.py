"""The public routes of SMS (acs-wire.md 4.1 to 4.3)."""

from datetime import UTC, datetime

import msgspec

from landline.core import phone
from landline.core.errors import Invalid
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import ErrorStyle, Route
from landline.services.sms.model import details, messages
from landline.services.sms.model.messages import Outcome, State
from landline.services.sms.opt_outs import OptOuts
from landline.services.sms.service import NOT_E164, Options, Sms, To
from landline.store.database import Record
from landline.wire import sms
from landline.wire.base import timestamp

_SEND = msgspec.json.Decoder(sms.SendMessageRequest)
_OPT_OUT = msgspec.json.Decoder(sms.OptOutRequest)
_MESSAGING_CONNECT = "2025-05-29"
"""The api-version that brought it, its preview included."""


def routes(service: Sms, opt_outs: OptOuts) -> list[Route]:
    """The operations of the SMS API."""
    handlers = _Handlers(service, opt_outs)
    return [
        Route("POST", "/sms", handlers.send, errors=ErrorStyle.SMS, name="Sms_Send"),
        Route("POST", "/sms/optouts:add", handlers.add, errors=ErrorStyle.SMS, name="OptOuts_Add"),
        Route("POST", "/sms/optouts:remove", handlers.remove, errors=ErrorStyle.SMS, name="OptOuts_Remove"),
        Route("POST", "/sms/optouts:check", handlers.check, errors=ErrorStyle.SMS, name="OptOuts_Check"),
        Route(
            "GET",
            "/deliveryReports/{outgoingMessageId}",
            handlers.report,
            errors=ErrorStyle.SMS,
            name="DeliveryReports_Get",
        ),
    ]


class _Handlers:
    def __init__(self, service: Sms, opt_outs: OptOuts) -> None:
        self._service = service
        self._opt_outs = opt_outs

    async def send(self, request: Request) -> Response:
        asked = request.decode(_SEND)
        options = asked.sms_send_options
        outcomes = await self._service.send(
            request.caller.resource,
            asked.from_,
            [To(to.to, to.repeatability_request_id, to.repeatability_first_sent) for to in asked.sms_recipients],
            asked.message,
            Options(
                options.enable_delivery_report,
                options.tag,
                options.delivery_report_timeout_in_seconds,
                partner=_partner(request, options.messaging_connect) if options.messaging_connect else None,
            )
            if options
            else Options(),
        )
        return json_response(202, sms.SmsSendResponse([_item(outcome) for outcome in outcomes]))

    async def add(self, request: Request) -> Response:
        asked, valid = _opt_out(request)
        await self._opt_outs.opt_out(request.caller.resource, asked.from_, sorted(valid))
        return _answer(asked, valid, None)

    async def remove(self, request: Request) -> Response:
        asked, valid = _opt_out(request)
        await self._opt_outs.opt_in(request.caller.resource, asked.from_, sorted(valid))
        return _answer(asked, valid, None)

    async def check(self, request: Request) -> Response:
        asked, valid = _opt_out(request)
        opted_out = await self._opt_outs.opted_out(request.caller.resource, asked.from_, sorted(valid))
        return _answer(asked, valid, opted_out)

    async def report(self, request: Request) -> Response:
        found = await self._service.ended(request.caller.resource, request.params["outgoingMessageId"])
        return json_response(200, _report(found))


def _item(outcome: Outcome) -> sms.SmsSendResponseItem:
    result = None if outcome.repeatable is None else "accepted" if outcome.repeatable else "rejected"
    return sms.SmsSendResponseItem(
        outcome.to, outcome.status, outcome.status == 202, outcome.message_id, result, outcome.error
    )


def _partner(request: Request, asked: sms.MessagingConnectOptions) -> str | None:
    """The partner that `asked` names; None where the api-version does not have it. Raises `Invalid`."""
    if request.query.get("api-version", "") < _MESSAGING_CONNECT:
        return None
    if not asked.partner_params and not asked.api_key:
        raise Invalid("The partnerParams field is required.", target="smsSendOptions.messagingConnect.partnerParams")
    return asked.partner


def _opt_out(request: Request) -> tuple[sms.OptOutRequest, set[str]]:
    asked = request.decode(_OPT_OUT)
    return asked, {to.to for to in asked.recipients if phone.parse(to.to)}


def _answer(asked: sms.OptOutRequest, valid: set[str], opted_out: set[str] | None) -> Response:
    return json_response(
        200,
        sms.OptOutResponse(
            [
                sms.OptOutResponseItem(to.to, 200, None if opted_out is None else to.to in opted_out)
                if to.to in valid
                else sms.OptOutResponseItem(to.to, 400, error_message=NOT_E164)
                for to in asked.recipients
            ]
        ),
    )


def _report(row: Record) -> sms.DeliveryReport:
    ended_at: datetime = row["ended_at"].astimezone(UTC)
    delivered = row["segments_delivered"] or 0
    return sms.DeliveryReport(
        message_id=messages.outgoing_id(row["message_id"], row["accepted_at"]),
        from_=row["sender"],
        to=row["recipient"],
        delivery_status="Delivered" if row["state"] == State.DELIVERED else "Failed",
        delivery_status_details=details.words(row["code"]),
        delivery_attempts=[sms.DeliveryAttempt(timestamp(ended_at), int(delivered), int(row["segments"] - delivered))],
        received_timestamp=timestamp(ended_at),
        tag=row["tag"],
    )
