"""JSON shapes of the number inventory on the admin API; the capabilities are ACS's own shape."""

from landline.wire.base import Wire


class PhoneNumberCapabilities(Wire):
    """Each `none`, `inbound`, `outbound` or `inbound+outbound`."""

    calling: str | None = None
    sms: str | None = None


class NumberToAdd(Wire):
    """Body of `POST /resources/{name}/numbers`; what is absent is as the number's kind usually has it."""

    number: str
    kind: str | None = None
    capabilities: PhoneNumberCapabilities | None = None
    carrier: str | None = None


class Number(Wire):
    """A sender in a resource's inventory."""

    number: str
    kind: str
    capabilities: PhoneNumberCapabilities
    carrier: str | None = None
