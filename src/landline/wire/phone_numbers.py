"""JSON shapes of the phone numbers service (api-version 2025-06-01), one class per object of the public API."""

from typing import Annotated

from msgspec import Meta

from landline.wire.base import Wire


class PhoneNumberCapabilities(Wire):
    """Each `none`, `inbound`, `outbound` or `inbound+outbound`."""

    calling: str
    sms: str


class PhoneNumberCapabilitiesRequest(Wire):
    """Merge patch of a number's capabilities; what is absent stays."""

    calling: str | None = None
    sms: str | None = None


class PhoneNumberBrowseCapabilitiesRequest(Wire):
    """The least that browsed numbers can do."""

    calling: str | None = None
    sms: str | None = None


class PhoneNumberCost(Wire, omit_defaults=False):
    """What one number costs."""

    amount: float
    currency_code: str
    billing_frequency: str


class CommunicationError(Wire):
    """An error inside another object: of an operation, or of one number of a reservation."""

    code: str
    message: str
    target: str | None = None
    details: "list[CommunicationError] | None" = None
    innererror: "CommunicationError | None" = None


class PurchasedPhoneNumber(Wire):
    """A number the resource owns. `id` is its digits."""

    id: str
    phone_number: str
    country_code: str
    phone_number_type: str
    capabilities: PhoneNumberCapabilities
    assignment_type: str
    purchase_date: str
    cost: PhoneNumberCost


class PurchasedPhoneNumbers(Wire):
    """A page of owned numbers."""

    phone_numbers: list[PurchasedPhoneNumber]
    next_link: str | None = None


class PhoneNumberSearchRequest(Wire):
    """Body of `:search`."""

    phone_number_type: str
    assignment_type: str
    capabilities: PhoneNumberCapabilities
    area_code: str | None = None
    quantity: Annotated[int, Meta(ge=1, le=2_147_483_647)] | None = None


class PhoneNumberSearchResult(Wire):
    """Numbers held for the caller until `search_expires_by`; `cost` is that of one number."""

    search_id: str
    phone_numbers: list[str]
    phone_number_type: str
    assignment_type: str
    capabilities: PhoneNumberCapabilities
    cost: PhoneNumberCost
    search_expires_by: str
    is_agreement_to_not_resell_required: bool | None = None
    error_code: int | None = None
    error: str | None = None


class PhoneNumberPurchaseRequest(Wire):
    """Body of `/availablePhoneNumbers/:purchase`."""

    search_id: str | None = None
    agree_to_not_resell: bool | None = None


class PhoneNumberOperation(Wire):
    """A long-running operation."""

    operation_type: str
    status: str
    created_date_time: str
    id: str
    resource_location: str | None = None
    error: CommunicationError | None = None
    last_action_date_time: str | None = None


class AvailablePhoneNumber(Wire):
    """A number on offer, or in a reservation. In requests the read-only fields are ignored."""

    country_code: str
    phone_number_type: str
    assignment_type: str
    capabilities: PhoneNumberCapabilities
    id: str | None = None
    phone_number: str | None = None
    cost: PhoneNumberCost | None = None
    status: str | None = None
    is_agreement_to_not_resell_required: bool | None = None
    error: CommunicationError | None = None


class PhoneNumbersBrowseRequest(Wire):
    """Body of `:browse`. Prefixes are digits with the country's calling code, `1425`."""

    phone_number_type: str
    capabilities: PhoneNumberBrowseCapabilitiesRequest | None = None
    assignment_type: str | None = None
    phone_number_prefixes: Annotated[list[str], Meta(max_length=100)] | None = None


class PhoneNumbersBrowseResult(Wire):
    """Some of the numbers on offer, in no order."""

    phone_numbers: list[AvailablePhoneNumber]


class PhoneNumbersReservation(Wire):
    """A reservation, by the digits of its numbers."""

    id: str | None = None
    expires_at: str | None = None
    phone_numbers: dict[str, AvailablePhoneNumber] | None = None
    status: str | None = None


class PhoneNumbersReservationPatch(Wire):
    """What is read of a reservation's merge patch: numbers to add, and None for those to take out."""

    phone_numbers: dict[str, AvailablePhoneNumber | None] | None = None


class PhoneNumbersReservations(Wire):
    """A page of reservations, without their numbers."""

    reservations: list[PhoneNumbersReservation]
    next_link: str | None = None


class PhoneNumbersReservationPurchaseRequest(Wire):
    """Body of `/availablePhoneNumbers/reservations/{id}/:purchase`."""

    agree_to_not_resell: bool | None = None


class PhoneNumberCountry(Wire):
    """A country with numbers."""

    localized_name: str
    country_code: str


class PhoneNumberCountries(Wire):
    """A page of countries."""

    countries: list[PhoneNumberCountry]
    next_link: str | None = None


class PhoneNumberAdministrativeDivision(Wire):
    """A state or province."""

    localized_name: str
    abbreviated_name: str


class PhoneNumberLocality(Wire):
    """A town with numbers."""

    localized_name: str
    administrative_division: PhoneNumberAdministrativeDivision | None = None


class PhoneNumberLocalities(Wire):
    """A page of towns."""

    phone_number_localities: list[PhoneNumberLocality]
    next_link: str | None = None


class PhoneNumberAreaCode(Wire):
    """An area code with numbers."""

    area_code: str


class PhoneNumberAreaCodes(Wire):
    """A page of area codes."""

    area_codes: list[PhoneNumberAreaCode]
    next_link: str | None = None


class PhoneNumberOffering(Wire):
    """What numbers of one kind and use can do, and cost."""

    phone_number_type: str
    assignment_type: str
    available_capabilities: PhoneNumberCapabilities
    cost: PhoneNumberCost


class OfferingsResponse(Wire):
    """A page of offerings."""

    phone_number_offerings: list[PhoneNumberOffering]
    next_link: str | None = None


class OperatorInformationOptions(Wire):
    """Without additional details a look-up formats the number and asks nobody."""

    include_additional_operator_details: bool | None = None


class OperatorInformationRequest(Wire):
    """Body of `/operatorInformation/:search`."""

    phone_numbers: list[str]
    options: OperatorInformationOptions | None = None


class OperatorDetails(Wire):
    """The operator of a number; codes are those of ITU-T E.212."""

    name: str | None = None
    mobile_network_code: str | None = None
    mobile_country_code: str | None = None


class OperatorInformation(Wire):
    """What is known of one number."""

    phone_number: str
    national_format: str | None = None
    international_format: str | None = None
    iso_country_code: str | None = None
    number_type: str | None = None
    operator_details: OperatorDetails | None = None


class OperatorInformationResult(Wire):
    """What is known of each number asked for, in order."""

    values: list[OperatorInformation]
