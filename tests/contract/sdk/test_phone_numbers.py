"""The official Python phone numbers clients, sync and async, unmodified, against a running server (acs-wire.md 6)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from azure.communication.phonenumbers import OperatorInformationOptions, PhoneNumberCapabilities
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import AsyncHttpTransport, HttpTransport
from tests.contract.sdk.conftest import Style, closed, listed, result
from tests.support.signed import Raw

from landline.testing import Handset, Inbox, Server

TEXTING = PhoneNumberCapabilities(calling="none", sms="inbound+outbound")
CALLING = PhoneNumberCapabilities(calling="outbound", sms="none")
VERSION = "2025-06-01"
Handsets = Callable[[str], Handset]


async def ended(begun: Any) -> Any:
    """What a long-running operation comes to."""
    poller = await result(begun)
    return await result(poller.result())


async def search(client: Any, country: str = "US", kind: str = "tollFree", **options: Any) -> Any:
    """A search for numbers of applications."""
    capabilities = options.pop("capabilities", TEXTING)
    begun = client.begin_search_available_phone_numbers(country, kind, "application", capabilities, **options)
    return await ended(begun)


async def bought(client: Any, **options: Any) -> str:
    """A number of our own."""
    found = await search(client, **options)
    await ended(client.begin_purchase_phone_numbers(found.search_id, agree_to_not_resell=True))
    return found.phone_numbers[0]


async def refusal(begun: Callable[[], Any]) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as refused:
        await ended(begun())
    return refused.value


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the pollers of either style meant to wait before they asked again, each time."""
    found: list[float] = []

    def sleep(_transport: Any, duration: float) -> None:
        found.append(duration)
        time.sleep(duration)

    async def sleep_async(_transport: Any, duration: float) -> None:
        found.append(duration)
        await asyncio.sleep(duration)

    monkeypatch.setattr(HttpTransport, "sleep", sleep)
    monkeypatch.setattr(AsyncHttpTransport, "sleep", sleep_async)
    return found


async def test_a_number_is_searched_bought_used_and_released(
    style: Style, given: Callable[[Any], Any], waits: list[float]
) -> None:
    client = given(style.numbers_client)
    found = await search(client, quantity=2)
    assert len(set(found.phone_numbers)) == 2
    assert all(number.startswith("+18") for number in found.phone_numbers)
    assert (found.phone_number_type, found.assignment_type) == ("tollFree", "application")
    assert (found.capabilities.sms, found.capabilities.calling) == ("inbound+outbound", "none")
    assert (found.cost.amount, found.cost.currency_code, found.cost.billing_frequency) == (2.0, "USD", "monthly")
    purchase = await result(client.begin_purchase_phone_numbers(found.search_id))
    assert await result(purchase.result()) is None
    assert purchase.status() == "succeeded"
    number = found.phone_numbers[0]
    own = await result(client.get_purchased_phone_number(number))
    assert (own.id, own.phone_number, own.country_code) == (number[1:], number, "US")
    assert (own.capabilities.sms, own.capabilities.calling) == ("inbound+outbound", "none")
    assert number in [each.phone_number for each in await listed(client.list_purchased_phone_numbers())]
    release = await result(client.begin_release_phone_number(number))
    await result(release.result())
    assert release.status() == "succeeded"
    with pytest.raises(ResourceNotFoundError) as gone:
        await result(client.get_purchased_phone_number(number))
    assert gone.value.error is not None
    assert gone.value.error.code == "NotFound"
    assert sum(waits) < 20, "the pollers need not wait for what has ended"
    await closed(client)


async def test_a_poller_goes_on_from_its_token(numbers: Any) -> None:
    found = await search(numbers)
    poller = await result(numbers.begin_purchase_phone_numbers(found.search_id))
    token = poller.continuation_token()
    again = await result(numbers.begin_purchase_phone_numbers("", continuation_token=token))
    assert await result(again.result()) is None
    assert again.status() == "succeeded"


async def test_what_a_number_can_do_takes_effect_at_once_where_it_is_used(
    numbers: Any, sms: Any, landline: Server, handset: Handsets, inbox: Inbox, fresh_number: Callable[[], str]
) -> None:
    number, phone = await bought(numbers), handset(fresh_number())
    sent = await result(sms.send(number, phone.number, "from my new number"))
    assert sent[0].successful
    assert phone.wait_for_sms().text == "from my new number"
    phone.send("an answer", to=number)
    inbox.wait_for("Microsoft.Communication.SMSReceived", where=lambda data: data["to"] == number)
    changed = await ended(numbers.begin_update_phone_number_capabilities(number, sms="inbound", calling="outbound"))
    assert (changed.capabilities.sms, changed.capabilities.calling) == ("inbound", "outbound")
    with pytest.raises(HttpResponseError) as refused:
        await result(sms.send(number, phone.number, "no more"))
    assert refused.value.status_code == 403
    changed = await ended(numbers.begin_update_phone_number_capabilities(number, sms="outbound"))
    assert (changed.capabilities.sms, changed.capabilities.calling) == ("outbound", "outbound")
    assert (await result(sms.send(number, phone.number, "again")))[0].successful
    await ended(numbers.begin_release_phone_number(number))
    with pytest.raises(HttpResponseError) as refused:
        await result(sms.send(number, phone.number, "not mine"))
    assert refused.value.status_code == 401


async def test_capabilities_a_number_does_not_have_are_refused(numbers: Any) -> None:
    number = await bought(numbers, country="FR", capabilities=CALLING)
    error = await refusal(lambda: numbers.begin_update_phone_number_capabilities(number, sms="outbound"))
    assert (error.status_code, error.error and error.error.code) == (400, "InvalidInput")
    error = await refusal(lambda: numbers.begin_update_phone_number_capabilities("+14155550199", sms="outbound"))
    assert error.status_code == 404
    error = await refusal(lambda: numbers.begin_update_phone_number_capabilities("no_number", sms="outbound"))
    assert error.status_code == 404


async def test_numbers_not_to_be_resold_need_the_agreement(numbers: Any) -> None:
    found = await search(numbers, "FR", capabilities=CALLING)
    assert found.is_agreement_to_not_resell_required
    error = await refusal(lambda: numbers.begin_purchase_phone_numbers(found.search_id, agree_to_not_resell=False))
    assert error.status_code == 400
    await ended(numbers.begin_purchase_phone_numbers(found.search_id, agree_to_not_resell=True))
    assert (await result(numbers.get_purchased_phone_number(found.phone_numbers[0]))).country_code == "FR"


async def test_searches_that_mean_nothing_are_refused(numbers: Any) -> None:
    def begin(country: str = "US", kind: str = "tollFree", assignment: str = "application", **options: Any) -> Any:
        return numbers.begin_search_available_phone_numbers(country, kind, assignment, TEXTING, **options)

    error = await refusal(lambda: begin("XX"))
    assert (error.status_code, error.error and error.error.code) == (400, "InvalidInput")
    assert (await refusal(lambda: begin(assignment="person"))).status_code == 400
    assert (await refusal(lambda: begin(kind="satellite"))).status_code == 400
    assert (await refusal(lambda: begin(kind="alphanumeric"))).status_code == 400
    assert (await refusal(lambda: begin(area_code="x"))).status_code == 400


async def test_a_search_that_finds_nothing_fails(numbers: Any) -> None:
    error = await refusal(lambda: search(numbers, kind="geographic", area_code="999"))
    assert "OutOfStock" in str(error)


async def test_a_search_gives_numbers_of_the_area_code(numbers: Any) -> None:
    found = await search(numbers, kind="geographic", area_code="425", quantity=5)
    assert len(set(found.phone_numbers)) == 5
    assert all(number.startswith("+1425") for number in found.phone_numbers)
    code = await search(numbers, kind="shortCode")
    assert len(code.phone_numbers[0]) == 5


@pytest.mark.parametrize("prefixes", [["1888", "1833"], ["+1888", "+1833"]])
async def test_numbers_are_browsed_by_how_they_begin(numbers: Any, prefixes: list[str]) -> None:
    asked = {"country_code": "US", "phone_number_type": "tollFree", "phone_number_prefixes": prefixes}
    found = (await result(numbers.browse_available_phone_numbers(**asked))).phone_numbers
    assert found
    assert {each.phone_number[:5] for each in found} <= {"+1888", "+1833"}


async def test_a_numbers_plus_may_be_encoded(numbers: Any) -> None:
    """As the SDKs say it of updating and releasing numbers."""
    found = await search(numbers)
    await ended(numbers.begin_purchase_phone_numbers(found.search_id))
    encoded = f"%2B{found.phone_numbers[0][1:]}"
    await ended(numbers.begin_update_phone_number_capabilities(encoded, sms="outbound"))
    kept = await result(numbers.get_purchased_phone_number(encoded))
    assert (kept.phone_number, kept.capabilities.sms) == (found.phone_numbers[0], "outbound")
    await ended(numbers.begin_release_phone_number(encoded))
    with pytest.raises(HttpResponseError):
        await result(numbers.get_purchased_phone_number(encoded))


async def test_browsed_numbers_are_reserved_and_bought_together(numbers: Any) -> None:
    browsed = await result(
        numbers.browse_available_phone_numbers(
            country_code="US", phone_number_type="tollFree", calling_capability="outbound"
        )
    )
    first, second, third = browsed.phone_numbers[:3]
    assert {each.status for each in browsed.phone_numbers} == {"available"}
    assert all("outbound" in each.capabilities.calling for each in browsed.phone_numbers)
    identifier = str(uuid4())
    made = await result(numbers.create_or_update_reservation(reservation_id=identifier, numbers_to_add=[first, second]))
    assert (made.id, made.status) == (identifier, "active")
    assert {key: each.status for key, each in made.phone_numbers.items()} == {
        first.id: "reserved",
        second.id: "reserved",
    }
    made = await result(
        numbers.create_or_update_reservation(
            reservation_id=identifier, numbers_to_add=[third, second], numbers_to_remove=[first.id]
        )
    )
    assert set(made.phone_numbers) == {second.id, third.id}
    shown = await result(numbers.get_reservation(identifier))
    assert (shown.status, set(shown.phone_numbers)) == ("active", {second.id, third.id})
    await ended(numbers.begin_purchase_reservation(identifier))
    shown = await result(numbers.get_reservation(identifier))
    assert shown.status == "completed"
    assert {each.status for each in shown.phone_numbers.values()} == {"purchased"}
    own = await result(numbers.get_purchased_phone_number(second.phone_number))
    assert own.capabilities.calling == second.capabilities.calling
    with pytest.raises(HttpResponseError):
        await result(numbers.delete_reservation(identifier))


async def test_a_number_others_have_is_refused_alone(numbers: Any, raw: Raw) -> None:
    browsed = await result(numbers.browse_available_phone_numbers(country_code="IE", phone_number_type="mobile"))
    first, second = browsed.phone_numbers[:2]
    ours, theirs = str(uuid4()), str(uuid4())
    await result(numbers.create_or_update_reservation(reservation_id=theirs, numbers_to_add=[first]))
    made = await result(numbers.create_or_update_reservation(reservation_id=ours, numbers_to_add=[first, second]))
    assert {key: each.status for key, each in made.phone_numbers.items()} == {first.id: "error", second.id: "reserved"}
    assert made.phone_numbers[first.id].error.code == "FailedToReserveNumber"
    assert set((await result(numbers.get_reservation(ours))).phone_numbers) == {second.id}
    await result(numbers.delete_reservation(theirs))
    with pytest.raises(ResourceNotFoundError):
        await result(numbers.get_reservation(theirs))
    made = await result(numbers.create_or_update_reservation(reservation_id=ours, numbers_to_add=[first]))
    assert made.phone_numbers[first.id].status == "reserved"
    body = {"phoneNumbers": {first.id: first.serialize()}}
    for identifier, status in ((theirs, 207), (ours, 200), (str(uuid4()), 207)):
        answer = raw.call("PATCH", f"/availablePhoneNumbers/reservations/{identifier}", body, version=VERSION)
        assert answer.status == status


async def test_reservations_are_listed_page_by_page_without_their_numbers(numbers: Any) -> None:
    made = {str(uuid4()) for _ in range(5)}
    for identifier in made:
        await result(numbers.create_or_update_reservation(reservation_id=identifier))
    found = await listed(numbers.list_reservations(max_page_size=2))
    assert made <= {each.id for each in found}
    assert len({each.id for each in found}) == len(found)
    assert all(each.phone_numbers is None for each in found)


async def test_purchased_numbers_are_listed_page_by_page(numbers: Any) -> None:
    found = await search(numbers, quantity=5)
    await ended(numbers.begin_purchase_phone_numbers(found.search_id))
    whole = [each.phone_number for each in await listed(numbers.list_purchased_phone_numbers())]
    pages = [each.phone_number for each in await listed(numbers.list_purchased_phone_numbers(top=2))]
    assert pages == whole
    assert set(found.phone_numbers) <= set(pages)
    skipped = [each.phone_number for each in await listed(numbers.list_purchased_phone_numbers(skip=3, top=2))]
    assert skipped == whole[3:]


async def test_what_there_is_can_be_looked_through(style: Style, landline: Server) -> None:
    client = style.numbers_client.from_connection_string(landline.connection_string, accepted_language="en-US")
    countries = {each.country_code: each.localized_name for each in await listed(client.list_available_countries())}
    assert countries["US"] == "United States"
    paged = await listed(client.list_available_countries(max_page_size=2))
    assert [each.country_code for each in paged] == sorted(countries)
    towns = await listed(client.list_available_localities("US"))
    seattle = next(each for each in towns if each.localized_name == "Seattle")
    assert seattle.administrative_division.abbreviated_name == "WA"
    in_washington = await listed(client.list_available_localities("US", administrative_division="WA"))
    assert {each.administrative_division.abbreviated_name for each in in_washington} == {"WA"}
    codes = await listed(client.list_available_area_codes("US", "geographic", locality="New York"))
    assert [each.area_code for each in codes] == ["212"]
    codes = await listed(client.list_available_area_codes("US", "tollFree", assignment_type="application"))
    assert {"833", "888"} <= {each.area_code for each in codes}
    offerings = await listed(client.list_available_offerings("US", phone_number_type="tollFree"))
    assert [(each.assignment_type, each.available_capabilities.sms) for each in offerings] == [
        ("application", "inbound+outbound")
    ]
    assert await listed(client.list_available_offerings("US", phone_number_type="geographic", assignment_type="person"))
    with pytest.raises(HttpResponseError) as refused:
        await listed(client.list_available_localities("XX"))
    assert refused.value.status_code == 400
    await closed(client)


async def test_numbers_are_looked_up(numbers: Any) -> None:
    plain = (await result(numbers.search_operator_information("+14255550123"))).values[0]
    assert plain.phone_number == "+14255550123"
    assert (plain.national_format, plain.international_format) == ("(425) 555-0123", "+1 425-555-0123")
    assert (plain.number_type, plain.operator_details, plain.iso_country_code) == (None, None, None)
    options = OperatorInformationOptions(include_additional_operator_details=True)
    told = (await result(numbers.search_operator_information(["+447400123456"], options=options))).values[0]
    assert (told.number_type, told.iso_country_code) == ("mobile", "GB")
    assert told.operator_details.name
    assert told.operator_details.mobile_country_code is None
    for wrong in (["+14255550123", "+14255550124"], "12", "+9991234567"):
        with pytest.raises(HttpResponseError) as refused:
            await result(numbers.search_operator_information(wrong))
        assert refused.value.status_code == 400


def test_answers_about_operations_carry_what_the_pollers_read(raw: Raw) -> None:
    """Also without a poller: the headers as the specification names them."""
    body = {
        "phoneNumberType": "tollFree",
        "assignmentType": "application",
        "capabilities": {"calling": "none", "sms": "outbound"},
    }
    answer = raw.call("POST", "/availablePhoneNumbers/countries/US/:search", body, version=VERSION)
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["retry-after"] == "1"
    identifier = answer.headers["search-id"]
    location = f"/availablePhoneNumbers/searchResults/{identifier}?api-version={VERSION}"
    assert answer.headers["location"] == location
    assert answer.headers["operation-id"] == f"search_{identifier}"
    where = answer.headers["operation-location"]
    assert where == f"/phoneNumbers/operations/search_{identifier}?api-version={VERSION}"
    polled = raw.call("GET", where, version=None)
    assert polled.status == 200
    assert polled.headers["retry-after"] == "1"
    assert polled.headers["location"] == polled.json()["resourceLocation"] == location
    assert (polled.json()["operationType"], polled.json()["status"]) == ("search", "succeeded")
    cancelled = raw.call("DELETE", f"/phoneNumbers/operations/search_{identifier}", version=VERSION)
    assert cancelled.status == 204
    found = raw.call("GET", f"/availablePhoneNumbers/searchResults/{identifier}", version=VERSION).json()
    assert (found["phoneNumbers"], found["error"]) == ([], "ReservationExpired"), "nothing is held any more"
    again = raw.call("POST", "/availablePhoneNumbers/:purchase", {"searchId": identifier}, version=VERSION)
    assert again.status == 409
