"""Model values of the phone numbers service as its wire shapes."""

from landline.core.errors import Refusal
from landline.ports.operator_lookup import NumberOperator
from landline.services.numbers.lookup import Looked, country_of
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import Cost, Offer, Place, Terms, Want, digits
from landline.services.numbers.records_operations import Failure, Operation
from landline.services.numbers.records_purchases import Purchased, Search
from landline.services.numbers.records_reservations import ReservationState, Reserved
from landline.services.numbers.reservations import NOT_RESERVED, Changed, Shown
from landline.wire import phone_numbers as wire
from landline.wire.base import timestamp

SEARCH_ERRORS = (
    "NoError",
    "UnknownErrorCode",
    "OutOfStock",
    "AuthorizationDenied",
    "MissingAddress",
    "InvalidAddress",
    "InvalidOfferModel",
    "NotEnoughLicenses",
    "NoWallet",
    "NotEnoughCredit",
    "NumbersPartiallyAcquired",
    "AllNumbersNotAcquired",
    "ReservationExpired",
    "PurchaseFailed",
    "BillingUnavailable",
    "ProvisioningFailed",
    "UnknownSearchError",
)
"""ACS's PhoneNumberSearchResultError in its order, which numbers `errorCode`: Azure's own numbers are not known."""

_STATUS_IN_RESERVATION = {
    ReservationState.ACTIVE: "reserved",
    ReservationState.EXPIRED: "expired",
    ReservationState.COMPLETED: "purchased",
}


def cost(value: Cost) -> wire.PhoneNumberCost:
    return wire.PhoneNumberCost(float(value.amount), value.currency, "monthly")


def capabilities(sms: Directions, calling: Directions) -> wire.PhoneNumberCapabilities:
    return wire.PhoneNumberCapabilities(calling=calling.value, sms=sms.value)


def purchased(number: Purchased) -> wire.PurchasedPhoneNumber:
    return wire.PurchasedPhoneNumber(
        id=digits(number.number),
        phone_number=number.number,
        country_code=number.country or country_of(number.number),
        phone_number_type=number.kind.value,
        capabilities=capabilities(number.sms, number.calling),
        assignment_type=number.assignment.value,
        purchase_date=timestamp(number.at),
        cost=cost(number.cost),
    )


def search_result(search: Search, *, expired: bool) -> wire.PhoneNumberSearchResult:
    error = "ReservationExpired" if expired else search.error
    return wire.PhoneNumberSearchResult(
        search_id=str(search.search_id),
        phone_numbers=[] if expired else list(search.numbers),
        phone_number_type=search.kind.value,
        assignment_type=search.assignment.value,
        capabilities=capabilities(search.sms, search.calling),
        cost=cost(search.cost),
        search_expires_by=timestamp(search.expires_at),
        is_agreement_to_not_resell_required=search.not_resell,
        error_code=SEARCH_ERRORS.index(error) if error else None,
        error=error,
    )


def operation(value: Operation, location: str | None) -> wire.PhoneNumberOperation:
    """`location` is that of the result, with its query."""
    return wire.PhoneNumberOperation(
        operation_type=value.type.value,
        status=value.status.value,
        created_date_time=timestamp(value.at),
        id=value.operation_id,
        resource_location=location,
        error=failure(value.failure) if value.failure else None,
        last_action_date_time=timestamp(value.at),
    )


def failure(value: Failure | Refusal) -> wire.CommunicationError:
    return wire.CommunicationError(value.code, value.message)


def offer(value: Offer) -> wire.AvailablePhoneNumber:
    return wire.AvailablePhoneNumber(
        country_code=value.terms.country,
        phone_number_type=value.terms.kind.value,
        assignment_type=value.terms.assignment.value,
        capabilities=capabilities(value.sms, value.calling),
        id=digits(value.number),
        phone_number=value.number,
        cost=cost(value.terms.cost),
        status="available",
        is_agreement_to_not_resell_required=value.not_resell,
    )


def reservation(shown: Shown, *, with_numbers: bool = True) -> wire.PhoneNumbersReservation:
    numbers = {digits(each.number): _reserved(each, shown.state) for each in shown.numbers}
    return wire.PhoneNumbersReservation(
        id=str(shown.reservation.reservation_id),
        expires_at=timestamp(shown.reservation.expires_at),
        phone_numbers=numbers if with_numbers else None,
        status=shown.state.value,
    )


def changed(value: Changed, wants: dict[str, Want | None]) -> wire.PhoneNumbersReservation:
    """The reservation after a change; what could not be added is in it, with its error."""
    shape = reservation(value.shown)
    assert shape.phone_numbers is not None
    for number in value.refused:
        want = wants[number]
        assert want is not None, "only what was to be added can be refused"
        shape.phone_numbers[digits(number)] = wire.AvailablePhoneNumber(
            country_code=want.country,
            phone_number_type=want.kind.value,
            assignment_type=want.assignment.value if want.assignment else "",
            capabilities=capabilities(want.sms, want.calling),
            id=digits(number),
            phone_number=number,
            status="error",
            error=failure(NOT_RESERVED),
        )
    return shape


def _reserved(value: Reserved, state: ReservationState) -> wire.AvailablePhoneNumber:
    return wire.AvailablePhoneNumber(
        country_code=value.country,
        phone_number_type=value.kind.value,
        assignment_type=value.assignment.value,
        capabilities=capabilities(value.sms, value.calling),
        id=digits(value.number),
        phone_number=value.number,
        cost=cost(value.cost),
        status="error" if value.failure else _STATUS_IN_RESERVATION[state],
        is_agreement_to_not_resell_required=value.not_resell,
        error=failure(value.failure) if value.failure else None,
    )


def offering(terms: Terms) -> wire.PhoneNumberOffering:
    return wire.PhoneNumberOffering(
        terms.kind.value, terms.assignment.value, capabilities(terms.sms, terms.calling), cost(terms.cost)
    )


def locality(place: Place) -> wire.PhoneNumberLocality:
    division = None
    if place.division is not None:
        division = wire.PhoneNumberAdministrativeDivision(place.division, place.abbreviation or place.division)
    return wire.PhoneNumberLocality(place.locality, division)


def looked_up(value: Looked) -> wire.OperatorInformation:
    shape = wire.OperatorInformation(value.number, value.national, value.international)
    if value.operator is not None:
        shape.iso_country_code = value.operator.country
        shape.number_type = value.operator.line_type.value
        shape.operator_details = _operator(value.operator)
    return shape


def _operator(value: NumberOperator) -> wire.OperatorDetails:
    return wire.OperatorDetails(value.name, value.mobile_network_code, value.mobile_country_code)
