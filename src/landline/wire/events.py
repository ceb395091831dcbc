"""Event envelopes (Event Grid schema, CloudEvents 1.0), the data of ACS's events, Event Grid's validation handshake,
and the JSON of event subscriptions on the admin API (acs-wire.md 10; specs/eventgrid/acs-events.json)."""

from typing import Annotated

from msgspec import UNSET, Meta, Raw, UnsetType, field

from landline.wire.base import Wire

VALIDATION_EVENT = "Microsoft.EventGrid.SubscriptionValidationEvent"
SMS_RECEIVED = "Microsoft.Communication.SMSReceived"
SMS_DELIVERY_REPORT_RECEIVED = "Microsoft.Communication.SMSDeliveryReportReceived"


class EventGridEvent(Wire, omit_defaults=False):
    """One event in the Event Grid schema; sent in an array."""

    id: str
    topic: str
    subject: str
    data: Raw
    event_type: str
    event_time: str
    data_version: str = "1.0"
    metadata_version: str = "1"


class CloudEvent(Wire, rename=None, omit_defaults=False):
    """One event in the JSON format of CloudEvents 1.0 (its attribute names are all lower case)."""

    id: str
    source: str
    subject: str
    data: Raw
    type: str
    time: str
    specversion: str = "1.0"


class AcsSmsReceivedEventData(Wire):
    """Data of `Microsoft.Communication.SMSReceived`."""

    message_id: str
    from_: str = field(name="from")
    to: str
    message: str
    segment_count: int
    received_timestamp: str | None = None


class AcsSmsDeliveryAttempt(Wire, omit_defaults=False):
    """One try of handing a message to the phone, in a delivery report."""

    timestamp: str
    segments_succeeded: int
    segments_failed: int


class AcsSmsDeliveryReportReceivedEventData(Wire):
    """Data of `Microsoft.Communication.SMSDeliveryReportReceived`."""

    message_id: str
    from_: str = field(name="from")
    to: str
    delivery_status: str
    delivery_status_details: str
    delivery_attempts: list[AcsSmsDeliveryAttempt]
    received_timestamp: str | None = None
    tag: str | None = None


class SubscriptionValidationEventData(Wire):
    """Data of the event that asks an endpoint for its consent."""

    validation_code: str
    validation_url: str


class SubscriptionValidationResponse(Wire):
    """An endpoint's consent: the code it was asked with."""

    validation_response: str


class DeliveryHeader(Wire, forbid_unknown_fields=True):
    """A header to send with every delivery. The value of a secret one is never shown again."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value: Annotated[str, Meta(max_length=4096)] = ""
    is_secret: bool = False


Name = Annotated[str, Meta(min_length=3, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
Endpoint = Annotated[str, Meta(min_length=1, max_length=2048)]
EventTypes = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=100)]
SubjectPart = Annotated[str, Meta(max_length=1024)]
SignatureSecrets = Annotated[list[Annotated[str, Meta(min_length=16, max_length=256)]], Meta(max_length=2)]
DeliveryHeaders = Annotated[list[DeliveryHeader], Meta(max_length=10)]
Attempts = Annotated[int, Meta(ge=1, le=30)]
Minutes = Annotated[int, Meta(ge=1, le=1440)]
BatchEvents = Annotated[int, Meta(ge=1, le=5000)]
BatchKilobytes = Annotated[int, Meta(ge=1, le=1024)]


class SubscriptionToChange(Wire, forbid_unknown_fields=True):
    """Body of `PATCH /resources/{name}/subscriptions/{subscription}`: what is absent stays as it is.

    `includedEventTypes: null` means every type again; `signatureSecrets: []` takes the signature off.
    """

    endpoint: Endpoint | UnsetType = UNSET
    schema: str | UnsetType = UNSET
    included_event_types: EventTypes | UnsetType | None = UNSET
    subject_begins_with: SubjectPart | UnsetType = UNSET
    subject_ends_with: SubjectPart | UnsetType = UNSET
    is_subject_case_sensitive: bool | UnsetType = UNSET
    max_delivery_attempts: Attempts | UnsetType = UNSET
    event_time_to_live_in_minutes: Minutes | UnsetType = UNSET
    max_events_per_batch: BatchEvents | UnsetType = UNSET
    preferred_batch_size_in_kilobytes: BatchKilobytes | UnsetType = UNSET
    delivery_headers: DeliveryHeaders | UnsetType = UNSET
    signature_secrets: SignatureSecrets | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    validation: bool = True
    """False: take the endpoint's consent for granted."""


class SubscriptionToAdd(SubscriptionToChange):
    """Body of `POST /resources/{name}/subscriptions`; `name` and `endpoint` are required."""

    name: Name | UnsetType = UNSET


class Subscription(Wire, omit_defaults=False):
    """A subscription as the admin API shows it: without any secret."""

    name: str
    endpoint: str
    schema: str
    state: str
    reason: str | None
    included_event_types: list[str] | None
    subject_begins_with: str
    subject_ends_with: str
    is_subject_case_sensitive: bool
    max_delivery_attempts: int
    event_time_to_live_in_minutes: int
    max_events_per_batch: int
    preferred_batch_size_in_kilobytes: int
    delivery_headers: list[DeliveryHeader]
    signed: bool
    allowed_rate_per_minute: int | None
    created_at: str
    pending_endpoint: str | None
    """Where events go once it consents."""


class SubscriptionList(Wire, omit_defaults=False):
    """All subscriptions of a resource, by name."""

    value: list[Subscription]


class DeadLetter(Wire, omit_defaults=False):
    """An event that was given up, and why. `id` names it for replaying."""

    id: str
    subscription: str
    event_id: str
    event_type: str
    subject: str
    event_time: str
    dead_at: str
    reason: str
    attempts: int
    last_status: int | None
    last_error: str | None
    data: Raw


class DeadLetterList(Wire):
    """A page of dead letters, the oldest first; `nextLink` is there while more follow."""

    value: list[DeadLetter]
    next_link: str | None = None


class DeadLettersToReplay(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/deadletters:replay`."""

    ids: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(min_length=1, max_length=1000)]


class Replayed(Wire, omit_defaults=False):
    """How many dead letters are on their way again."""

    replayed: int
