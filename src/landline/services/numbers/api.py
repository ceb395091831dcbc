"""The public operations of the phone numbers service (acs-wire.md 6)."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec

from landline.core.errors import NotFound, Refusal
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route
from landline.services.numbers import countries, shapes
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.lookup import Lookup
from landline.services.numbers.offers import InvalidInput, Want, number_of
from landline.services.numbers.parameters import (
    NIL,
    assignment_of,
    country_of,
    directions_of,
    kind_of,
    optional_kind,
    page_of,
    uuid_of,
    want_of,
)
from landline.services.numbers.purchases import Purchases
from landline.services.numbers.records_operations import Operation
from landline.services.numbers.reservations import Reservations
from landline.wire import phone_numbers as wire

_SEARCH = msgspec.json.Decoder(wire.PhoneNumberSearchRequest)
_BROWSE = msgspec.json.Decoder(wire.PhoneNumbersBrowseRequest)
_PURCHASE = msgspec.json.Decoder(wire.PhoneNumberPurchaseRequest)
_CAPABILITIES = msgspec.json.Decoder(wire.PhoneNumberCapabilitiesRequest)
_RESERVATION = msgspec.json.Decoder(wire.PhoneNumbersReservationPatch)
_RESERVATION_PURCHASE = msgspec.json.Decoder(wire.PhoneNumbersReservationPurchaseRequest)
_OPERATOR = msgspec.json.Decoder(wire.OperatorInformationRequest)
_RETRY = {"retry-after": "1"}
"""On every answer about a long-running operation: without it the SDKs wait 2 to 30 s between polls. Not 0, which the
Python SDK takes for none."""
T = TypeVar("T")


def routes(purchases: Purchases, reservations: Reservations, inventory: Inventory, lookup: Lookup) -> list[Route]:
    """All 20 operations."""
    owned, offers = _Owned(purchases), _Offers(purchases, inventory)
    held, operators = _Reservations(reservations), _Operators(lookup)
    available, number = "/availablePhoneNumbers", "/phoneNumbers/{phoneNumber}"
    country, reserved = f"{available}/countries/{{countryCode}}", f"{available}/reservations"
    operation, reservation = "/phoneNumbers/operations/{operationId}", f"{reserved}/{{reservationId}}"
    table = [
        ("GET", f"{country}/areaCodes", offers.area_codes, "listAreaCodes"),
        ("GET", f"{available}/countries", offers.countries, "listAvailableCountries"),
        ("POST", f"{country}/:browse", offers.browse, "browseAvailableNumbers"),
        ("GET", f"{country}/localities", offers.localities, "listAvailableLocalities"),
        ("GET", f"{country}/offerings", offers.offerings, "listOfferings"),
        ("POST", f"{country}/:search", offers.search, "searchAvailablePhoneNumbers"),
        ("GET", f"{available}/searchResults/{{searchId}}", offers.search_result, "getSearchResult"),
        ("POST", f"{available}/:purchase", offers.purchase, "purchasePhoneNumbers"),
        ("GET", reserved, held.list, "listReservations"),
        ("PATCH", reservation, held.change, "createOrUpdateReservation"),
        ("GET", reservation, held.get, "getReservation"),
        ("DELETE", reservation, held.delete, "deleteReservation"),
        ("POST", f"{reservation}/:purchase", held.purchase, "purchaseReservation"),
        ("GET", operation, owned.operation, "getOperation"),
        ("DELETE", operation, owned.cancel, "cancelOperation"),
        ("PATCH", f"{number}/capabilities", owned.update, "updateCapabilities"),
        ("GET", number, owned.get, "getByNumber"),
        ("DELETE", number, owned.release, "releasePhoneNumber"),
        ("GET", "/phoneNumbers", owned.list, "listPhoneNumbers"),
        ("POST", "/operatorInformation/:search", operators.search, "operatorInformationSearch"),
    ]
    return [Route(method, template, handler, name=f"phoneNumbers_{name}") for method, template, handler, name in table]


class _Owned:
    """What a resource has: its numbers, and its operations."""

    def __init__(self, purchases: Purchases) -> None:
        self._purchases = purchases

    async def list(self, request: Request) -> Response:
        skip, top = page_of(request.query, size="top")
        after = number_of(request.query["after"]) if "after" in request.query else ""
        found = await self._purchases.list(request.caller.resource, after, skip, top + 1)
        shape = wire.PurchasedPhoneNumbers([shapes.purchased(each) for each in found[:top]])
        if len(found) > top:
            # Behind the last one shown, not so many on: who goes through them to release some would pass over as many.
            shape.next_link = _next(request, skip=0, after=found[top - 1].number)
        return json_response(200, shape)

    async def get(self, request: Request) -> Response:
        found = await self._purchases.get(request.caller.resource, number_of(request.params["phoneNumber"]))
        return json_response(200, shapes.purchased(found))

    async def update(self, request: Request) -> Response:
        wanted = request.decode(_CAPABILITIES) if request.body else wire.PhoneNumberCapabilitiesRequest()
        change_id, operation = await self._purchases.update(
            request.caller.resource,
            number_of(request.params["phoneNumber"]),
            directions_of(wanted.sms, "sms"),
            directions_of(wanted.calling, "calling"),
        )
        return _accepted(request, operation, "capabilities-id", change_id)

    async def release(self, request: Request) -> Response:
        release_id, operation = await self._purchases.release(
            request.caller.resource, number_of(request.params["phoneNumber"])
        )
        return _accepted(request, operation, "release-id", release_id)

    async def operation(self, request: Request) -> Response:
        operation = await self._purchases.operation(request.caller.resource, request.params["operationId"])
        location = _versioned(request, operation.location)
        headers = {**_RETRY, "location": location} if location else _RETRY
        return json_response(200, shapes.operation(operation, location), headers)

    async def cancel(self, request: Request) -> Response:
        await self._purchases.cancel(request.caller.resource, request.params["operationId"])
        return Response(204)


class _Offers:
    """What is for sale, and searches of it."""

    def __init__(self, purchases: Purchases, inventory: Inventory) -> None:
        self._purchases = purchases
        self._inventory = inventory

    async def countries(self, request: Request) -> Response:
        found = await self._inventory.countries()
        page, link = _page(request, found)
        named = [wire.PhoneNumberCountry(countries.name(code), code) for code in page]
        return json_response(200, wire.PhoneNumberCountries(named, link))

    async def localities(self, request: Request) -> Response:
        kind = optional_kind(request.query.get("phoneNumberType"))
        areas = await self._inventory.areas(country_of(request.params["countryCode"]), kind)
        division = request.query.get("administrativeDivision")
        places = dict.fromkeys(place for _, place in areas if place is not None and place.is_in(division))
        page, link = _page(request, list(places))
        return json_response(200, wire.PhoneNumberLocalities([shapes.locality(place) for place in page], link))

    async def area_codes(self, request: Request) -> Response:
        query = request.query
        kind = kind_of(query.get("phoneNumberType", ""), "phoneNumberType")
        assignment_of(query.get("assignmentType"))
        areas = await self._inventory.areas(country_of(request.params["countryCode"]), kind)
        town, division = query.get("locality"), query.get("administrativeDivision")
        if town is not None or division is not None:
            areas = [each for each in areas if each[1] is not None and each[1].is_in(division, town)]
        page, link = _page(request, sorted({code for code, _ in areas}))
        return json_response(200, wire.PhoneNumberAreaCodes([wire.PhoneNumberAreaCode(code) for code in page], link))

    async def offerings(self, request: Request) -> Response:
        kind = optional_kind(request.query.get("phoneNumberType"))
        assignment = assignment_of(request.query.get("assignmentType"))
        terms = await self._inventory.terms(country_of(request.params["countryCode"]))
        fit = [each for each in terms if kind in (None, each.kind) and assignment in (None, each.assignment)]
        page, link = _page(request, fit)
        return json_response(200, wire.OfferingsResponse([shapes.offering(each) for each in page], link))

    async def browse(self, request: Request) -> Response:
        wanted = request.decode(_BROWSE)
        least = wanted.capabilities or wire.PhoneNumberBrowseCapabilitiesRequest()
        want = want_of(
            country=request.params["countryCode"],
            kind=wanted.phone_number_type,
            assignment=wanted.assignment_type,
            sms=least.sms,
            calling=least.calling,
            prefixes=wanted.phone_number_prefixes or (),
        )
        found = await self._inventory.browse(want)
        return json_response(200, wire.PhoneNumbersBrowseResult([shapes.offer(each) for each in found]))

    async def search(self, request: Request) -> Response:
        wanted = request.decode(_SEARCH)
        want = want_of(
            country=request.params["countryCode"],
            kind=wanted.phone_number_type,
            assignment=wanted.assignment_type,
            sms=wanted.capabilities.sms,
            calling=wanted.capabilities.calling,
            area_code=wanted.area_code,
        )
        quantity = 1 if wanted.quantity is None else wanted.quantity
        search_id, operation = await self._purchases.search(request.caller.resource, want, quantity)
        return _accepted(request, operation, "search-id", search_id)

    async def search_result(self, request: Request) -> Response:
        search_id = uuid_of(request.params["searchId"])
        if search_id is None:
            raise NotFound("There is no such search.", target="searchId")
        found = await self._purchases.found(request.caller.resource, search_id)
        return json_response(200, shapes.search_result(found, expired=self._purchases.expired(found)))

    async def purchase(self, request: Request) -> Response:
        wanted = request.decode(_PURCHASE)
        if wanted.search_id is None:
            raise InvalidInput("Say which search to buy.", target="searchId")
        search_id = uuid_of(wanted.search_id)
        if search_id is None:
            raise NotFound("There is no such search.", target="searchId")
        agreed = bool(wanted.agree_to_not_resell)
        operation = await self._purchases.purchase(request.caller.resource, search_id, agreed=agreed)
        return _accepted(request, operation, "purchase-id", search_id)


class _Reservations:
    """Reservations."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    async def list(self, request: Request) -> Response:
        _, size = page_of(request.query, size="maxPageSize")
        after = uuid_of(request.query["after"]) if "after" in request.query else NIL
        if after is None:
            raise InvalidInput("This is not a link that this server gave.", target="after")
        found = await self._reservations.list(request.caller.resource, after, size + 1)
        shape = wire.PhoneNumbersReservations(
            [shapes.reservation(each, with_numbers=False) for each in found[:size]],
        )
        if len(found) > size:
            shape.next_link = _next(request, after=found[size - 1].reservation.reservation_id)
        return json_response(200, shape)

    async def change(self, request: Request) -> Response:
        wanted = request.decode(_RESERVATION)
        wants = {number_of(key): _want(value) for key, value in (wanted.phone_numbers or {}).items()}
        changed = await self._reservations.change(request.caller.resource, _reservation(request), wants)
        status = 207 if changed.refused else 201 if changed.created else 200
        return json_response(status, shapes.changed(changed, wants))

    async def get(self, request: Request) -> Response:
        found = await self._reservations.get(request.caller.resource, _reservation(request))
        return json_response(200, shapes.reservation(found))

    async def delete(self, request: Request) -> Response:
        await self._reservations.delete(request.caller.resource, _reservation(request))
        return Response(204)

    async def purchase(self, request: Request) -> Response:
        wanted = (
            request.decode(_RESERVATION_PURCHASE) if request.body else wire.PhoneNumbersReservationPurchaseRequest()
        )
        reservation_id, agreed = _reservation(request), bool(wanted.agree_to_not_resell)
        operation = await self._reservations.purchase(request.caller.resource, reservation_id, agreed=agreed)
        return _accepted(request, operation, "reservation-purchase-id", reservation_id)


class _Operators:
    """Operator information."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def search(self, request: Request) -> Response:
        wanted = request.decode(_OPERATOR)
        if len(wanted.phone_numbers) != 1:  # code and words are those of Azure's recorded answer
            raise Refusal("Can only accept one phoneNumber", target="phoneNumbers")
        details = bool(wanted.options and wanted.options.include_additional_operator_details)
        found = await self._lookup.look_up(wanted.phone_numbers[0], details=details)
        return json_response(200, wire.OperatorInformationResult([shapes.looked_up(found)]))


def _want(number: wire.AvailablePhoneNumber | None) -> Want | None:
    if number is None:
        return None
    return want_of(
        country=number.country_code,
        kind=number.phone_number_type,
        assignment=number.assignment_type,
        sms=number.capabilities.sms,
        calling=number.capabilities.calling,
    )


def _reservation(request: Request) -> UUID:
    found = uuid_of(request.params["reservationId"])
    if found is None:
        raise InvalidInput("A reservation's id is a UUID.", target="reservationId")
    return found


def _accepted(request: Request, operation: Operation, id_header: str, identifier: UUID) -> Response:
    """202 as the pollers want it. `Access-Control-Expose-Headers` is the edge's matter."""
    headers = {
        **_RETRY,
        "operation-location": _versioned(request, f"/phoneNumbers/operations/{operation.operation_id}") or "",
        "operation-id": operation.operation_id,
        id_header: str(identifier),
    }
    location = _versioned(request, operation.location)
    if location is not None:
        headers["location"] = location
    return Response(202, headers=headers)


def _versioned(request: Request, path: str | None) -> str | None:
    """`path` with the request's own api-version: pollers and pagers ask for it as it stands."""
    return None if path is None else f"{path}?api-version={quote(request.query['api-version'], safe='')}"


def _page(request: Request, values: Sequence[T]) -> tuple[Sequence[T], str | None]:
    """The page of `values` that is asked for, and where the next one is."""
    skip, size = page_of(request.query, size="maxPageSize")
    link = _next(request, skip=skip + size) if len(values) > skip + size else None
    return values[skip : skip + size], link


def _next(request: Request, **changed: object) -> str:
    query: Mapping[str, object] = {**request.query, **changed}
    return f"{request.target.partition('?')[0]}?{urlencode(query, quote_via=quote)}"
