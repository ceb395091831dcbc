"""Wire shapes of SMS: send, opt-outs and delivery reports (acs-wire.md 4; api-versions 2021-03-07 to 2026-01-23)."""

from typing import Annotated

from msgspec import Meta, field

from landline.wire.base import Wire


class SmsRecipient(Wire):
    to: str
    repeatability_request_id: str | None = None
    repeatability_first_sent: str | None = None


class MessagingConnectOptions(Wire):
    partner: Annotated[str, Meta(min_length=1, max_length=64)]
    partner_params: Annotated[dict[str, object], Meta(min_length=1)] | None = None
    api_key: str | None = None
    """What 2025-05-29-preview sent in place of `partnerParams`."""


class SmsSendOptions(Wire):
    enable_delivery_report: bool
    tag: Annotated[str, Meta(max_length=2048)] | None = None
    delivery_report_timeout_in_seconds: Annotated[int, Meta(ge=60, le=43200)] | None = None
    messaging_connect: MessagingConnectOptions | None = None


class SendMessageRequest(Wire):
    from_: str = field(name="from")
    sms_recipients: Annotated[list[SmsRecipient], Meta(min_length=1, max_length=100)]
    message: Annotated[str, Meta(max_length=2048)]
    sms_send_options: SmsSendOptions | None = None


class SmsSendResponseItem(Wire):
    to: str
    http_status_code: int
    successful: bool
    message_id: str | None = None
    repeatability_result: str | None = None
    error_message: str | None = None


class SmsSendResponse(Wire):
    value: list[SmsSendResponseItem]


class OptOutRecipient(Wire):
    to: Annotated[str, Meta(min_length=1)]


class OptOutRequest(Wire):
    from_: Annotated[str, Meta(min_length=1)] = field(name="from")
    recipients: Annotated[list[OptOutRecipient], Meta(min_length=1, max_length=100)]


class OptOutResponseItem(Wire):
    to: str
    http_status_code: int
    is_opted_out: bool | None = None
    error_message: str | None = None


class OptOutResponse(Wire):
    value: list[OptOutResponseItem]


class DeliveryAttempt(Wire):
    timestamp: str
    segments_succeeded: int
    segments_failed: int


class DeliveryReport(Wire):
    message_id: str
    from_: str = field(name="from")
    to: str
    delivery_status: str
    delivery_attempts: list[DeliveryAttempt]
    delivery_status_details: str | None = None
    received_timestamp: str | None = None
    tag: str | None = None
    messaging_connect_partner_message_id: str | None = None
