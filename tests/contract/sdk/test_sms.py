"""The official Python SMS clients, sync and async, and the operations they lack by signed requests (acs-wire.md 4)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.communication.sms import SmsSendResult
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.eventgrid import EventGridEvent
from tests.contract.sdk.conftest import Style, closed, result
from tests.support.signed import Raw, http_date, sms_body

from landline.testing import Handset, Inbox, Server

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"
UNSUBSCRIBED = "You have successfully been unsubscribed to messages from this number. Reply START to resubscribe"
RESUBSCRIBED = "You have successfully been re-subscribed to messages from this number. Reply STOP to unsubscribe."
Numbers = Callable[[], str]
Handsets = Callable[[str], Handset]


async def test_a_text_is_sent_however_the_client_was_given_the_resource(
    style: Style, given: Callable[[Any], Any], landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    client = given(style.sms_client)
    sent: list[SmsSendResult] = await result(client.send(landline.phone_number, phone.number, "Hello from the SDK"))
    assert [(one.to, one.http_status_code, one.successful) for one in sent] == [(phone.number, 202, True)]
    assert sent[0].message_id
    assert phone.wait_for_sms().text == "Hello from the SDK"
    await closed(client)


async def test_an_empty_text_is_sent_as_one(
    sms: Any, landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    """`SendMessageRequest.message` has a minLength of 0."""
    phone = handset(fresh_number())
    [sent] = await result(sms.send(landline.phone_number, phone.number, ""))
    assert sent.successful
    assert phone.wait_for_sms().text == ""


@pytest.mark.parametrize("count", [2, 100])
async def test_one_request_reaches_up_to_100_handsets(
    sms: Any, landline: Server, handset: Handsets, fresh_number: Numbers, count: int
) -> None:
    numbers = [fresh_number() for _ in range(count)]
    first, last = handset(numbers[0]), handset(numbers[-1])
    sent = await result(sms.send(landline.phone_number, numbers, "To all of you"))
    assert [one.to for one in sent] == numbers
    assert all(one.successful for one in sent)
    assert len({one.message_id for one in sent}) == count
    assert first.wait_for_sms().text == last.wait_for_sms().text == "To all of you"


async def test_two_sends_have_two_message_ids(sms: Any, landline: Server, fresh_number: Numbers) -> None:
    number = fresh_number()
    ids = [(await result(sms.send(landline.phone_number, number, "again")))[0].message_id for _ in range(2)]
    assert ids[0] != ids[1]


async def test_a_delivery_report_with_its_tag_comes_to_the_webhook(
    sms: Any, landline: Server, inbox: Inbox, fresh_number: Numbers
) -> None:
    number = fresh_number()
    sent = await result(
        sms.send(landline.phone_number, number, "Report, please", enable_delivery_report=True, tag="t-1")
    )
    event = inbox.wait_for(REPORT, where=lambda data: data["messageId"] == sent[0].message_id)
    assert event.headers["aeg-event-type"] == "Notification"
    parsed = EventGridEvent.from_dict(event.raw)
    assert parsed.event_type == REPORT
    assert parsed.data_version == "1.0"
    data: dict[str, Any] = dict(parsed.data)
    assert data.pop("receivedTimestamp")
    attempts = data.pop("deliveryAttempts")
    assert [(one["segmentsSucceeded"], one["segmentsFailed"]) for one in attempts] == [(1, 0)]
    assert datetime.fromisoformat(attempts[0]["timestamp"])
    details = data.pop("deliveryStatusDetails")
    assert details == "2000: No Error"
    assert data == {
        "messageId": sent[0].message_id,
        "from": landline.phone_number,
        "to": number,
        "deliveryStatus": "Delivered",
        "tag": "t-1",
    }


async def test_no_report_is_posted_when_none_was_asked_for(
    sms: Any, landline: Server, inbox: Inbox, fresh_number: Numbers
) -> None:
    number = fresh_number()
    quiet = await result(sms.send(landline.phone_number, number, "No report"))
    loud = await result(sms.send(landline.phone_number, number, "Report", enable_delivery_report=True))
    inbox.wait_for(REPORT, where=lambda data: data["messageId"] == loud[0].message_id)
    landline.clock.advance(seconds=60)  # whatever was still to come has come
    assert not [event for event in inbox.events if event.data.get("messageId") == quiet[0].message_id]


async def test_a_recipient_that_is_no_number_is_refused_and_the_others_are_sent(
    sms: Any, landline: Server, fresh_number: Numbers
) -> None:
    good = fresh_number()
    sent = await result(sms.send(landline.phone_number, [good, "+1425"], "Half of it"))
    assert [(one.to, one.http_status_code, one.successful) for one in sent] == [
        (good, 202, True),
        ("+1425", 400, False),
    ]
    assert sent[1].error_message
    assert not sent[1].message_id


# The SDKs' own live tests send to these three: JavaScript's smsClient.spec.ts, Python's and Java's.
@pytest.mark.parametrize("number", ["+1425555012345", "+1234567891011", "+155512345678"])
async def test_a_north_american_number_that_is_too_long_is_answered_400_among_the_outcomes(
    sms: Any, landline: Server, fresh_number: Numbers, number: str
) -> None:
    good = fresh_number()
    sent = await result(sms.send(landline.phone_number, [good, number], "Half of it"))
    assert [(one.to, one.http_status_code, one.successful) for one in sent] == [
        (good, 202, True),
        (number, 400, False),
    ]
    alone = await result(sms.send(landline.phone_number, number, "Nobody"))
    for one in (sent[1], *alone):
        assert (one.to, one.http_status_code, one.successful, one.message_id) == (number, 400, False, None)
        assert one.error_message == "Invalid To phone number format."
    with pytest.raises(ClientAuthenticationError):
        await result(sms.send("+18005559999", number, "Not my number"))


async def test_a_sender_that_is_not_ours_refuses_the_whole_request(sms: Any, fresh_number: Numbers) -> None:
    with pytest.raises(ClientAuthenticationError) as refused:
        await result(sms.send("+18005559999", fresh_number(), "Not my number"))
    assert refused.value.status_code == 401


@pytest.mark.parametrize("length", [2049, 3000])
async def test_a_message_over_2048_characters_is_refused(
    sms: Any, landline: Server, fresh_number: Numbers, length: int
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await result(sms.send(landline.phone_number, fresh_number(), "x" * length))
    assert refused.value.status_code == 400


async def test_a_message_of_2048_characters_arrives_whole(
    sms: Any, landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    phone, text = handset(fresh_number()), "abcdefgh" * 256
    await result(sms.send(landline.phone_number, phone.number, text))
    assert phone.wait_for_sms().text == text


@pytest.mark.parametrize("text", ["Grüße, señor ¿qué tal?", "Привет 👋", "مرحبا", "一二三", "{[~]}€ \\ ^|"])
async def test_every_script_arrives_as_it_was_sent(
    sms: Any, landline: Server, handset: Handsets, fresh_number: Numbers, text: str
) -> None:
    phone = handset(fresh_number())
    await result(sms.send(landline.phone_number, phone.number, text))
    assert phone.wait_for_sms().text == text


async def test_no_recipients_and_more_than_100_are_refused(sms: Any, landline: Server, fresh_number: Numbers) -> None:
    for recipients in ([], [fresh_number() for _ in range(101)]):
        with pytest.raises(HttpResponseError) as refused:
            await result(sms.send(landline.phone_number, recipients, "x"))
        assert refused.value.status_code == 400


async def test_a_text_from_a_handset_comes_as_an_event(
    landline: Server, inbox: Inbox, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    phone.send("Is anybody there?")
    event = inbox.wait_for(RECEIVED, where=lambda data: data["from"] == phone.number)
    parsed = EventGridEvent.from_dict(event.raw)
    assert parsed.subject == "/phonenumber/" + landline.phone_number.removeprefix("+")
    data: dict[str, Any] = dict(parsed.data)
    assert data.pop("messageId").startswith("Incoming_")
    assert datetime.fromisoformat(data.pop("receivedTimestamp"))
    assert data == {
        "from": phone.number,
        "to": landline.phone_number,
        "message": "Is anybody there?",
        "segmentCount": 1,
    }


async def test_events_can_be_had_as_cloud_events(sms: Any, landline: Server, fresh_number: Numbers) -> None:
    inbox = landline.inbox(cloud_events=True)
    sent = await result(sms.send(landline.phone_number, fresh_number(), "Cloud", enable_delivery_report=True))
    event = inbox.wait_for(REPORT, where=lambda data: data["messageId"] == sent[0].message_id)
    assert event.raw["specversion"] == "1.0"
    assert event.raw["source"].startswith("/subscriptions/")
    inbox.close()


async def test_stop_blocks_start_reopens_and_help_is_answered(
    sms: Any, landline: Server, inbox: Inbox, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    phone.send(" stop. ")
    assert phone.wait_for_sms().text == UNSUBSCRIBED
    inbox.wait_for(RECEIVED, where=lambda data: data["from"] == phone.number and data["message"] == " stop. ")

    sent = await result(sms.send(landline.phone_number, phone.number, "Unwanted", enable_delivery_report=True))
    assert (sent[0].http_status_code, sent[0].successful) == (202, True)
    report = inbox.wait_for(REPORT, where=lambda data: data["messageId"] == sent[0].message_id)
    assert report.data["deliveryStatus"] == "Failed"
    assert "Sender blocked for given recipient." in report.data["deliveryStatusDetails"]
    assert [one.text for one in phone.inbox] == [UNSUBSCRIBED]

    phone.send("START")
    assert phone.wait_for_sms().text == RESUBSCRIBED
    await result(sms.send(landline.phone_number, phone.number, "Wanted again"))
    assert phone.wait_for_sms().text == "Wanted again"
    phone.send("HELP")
    assert phone.wait_for_sms().text


async def test_a_sentence_with_stop_in_it_blocks_nothing(
    sms: Any, landline: Server, inbox: Inbox, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    phone.send("please stop by later")
    inbox.wait_for(RECEIVED, where=lambda data: data["from"] == phone.number)
    await result(sms.send(landline.phone_number, phone.number, "See you"))
    assert phone.wait_for_sms().text == "See you"


def test_opt_outs_are_added_checked_and_removed(
    raw: Raw, landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    number, other = fresh_number(), fresh_number()
    body = {"from": landline.phone_number, "recipients": [{"to": number}]}

    def opted_out() -> list[bool]:
        both = {**body, "recipients": [{"to": number}, {"to": other}]}
        answer = raw.call("POST", "/sms/optouts:check", both)
        assert answer.status == 200, answer
        assert [one["httpStatusCode"] for one in answer.json()["value"]] == [200, 200]
        return [one["isOptedOut"] for one in answer.json()["value"]]

    assert opted_out() == [False, False]
    added = raw.call("POST", "/sms/optouts:add", body)
    assert (added.status, added.json()["value"][0]["to"]) == (200, number), added
    assert opted_out() == [True, False]
    removed = raw.call("POST", "/sms/optouts:remove", body)
    assert (removed.status, removed.json()["value"][0]["httpStatusCode"]) == (200, 200), removed
    assert opted_out() == [False, False]
    phone = handset(number)
    assert raw.send_sms(landline.phone_number, [number], "After all").status == 202
    assert phone.wait_for_sms().text == "After all"


def test_opt_outs_of_a_sender_that_is_not_ours_are_refused(raw: Raw, fresh_number: Numbers) -> None:
    for verb in ("add", "remove", "check"):
        body = {"from": "+18005559999", "recipients": [{"to": fresh_number()}]}
        answer = raw.call("POST", f"/sms/optouts:{verb}", body)
        assert answer.status == 401, answer


def test_the_delivery_report_can_be_fetched(raw: Raw, landline: Server, inbox: Inbox, fresh_number: Numbers) -> None:
    number = fresh_number()
    message_id = raw.send_sms(landline.phone_number, [number], "Fetch me", tag="t-2").json()["value"][0]["messageId"]
    inbox.wait_for(REPORT, where=lambda data: data["messageId"] == message_id)
    answer = raw.call("GET", f"/deliveryReports/{message_id}")
    assert answer.status == 200, answer
    report = answer.json()
    assert report["deliveryStatus"] == "Delivered"
    assert report["deliveryStatusDetails"].startswith("2000")
    assert (report["messageId"], report["from"], report["to"]) == (message_id, landline.phone_number, number)
    assert report["tag"] == "t-2"
    assert report["deliveryAttempts"]


def test_the_report_of_an_unknown_message_is_a_problem_document(raw: Raw) -> None:
    answer = raw.call("GET", f"/deliveryReports/Outgoing_20261121{uuid4()}")
    assert answer.status == 404
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (404, "Not Found")
    assert problem["traceId"]


def test_a_repeated_send_is_recognised_and_sent_once(
    raw: Raw, landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    recipient = {
        "to": phone.number,
        "repeatabilityRequestId": str(uuid4()),
        "repeatabilityFirstSent": http_date(),
    }
    answers = [raw.send_sms(landline.phone_number, [recipient], "Once") for _ in range(3)]
    items = [answer.json()["value"][0] for answer in answers]
    assert {answer.status for answer in answers} == {202}
    assert {item["messageId"] for item in items} == {items[0]["messageId"]}
    assert {item["repeatabilityResult"] for item in items} == {"accepted"}
    raw.send_sms(landline.phone_number, [phone.number], "Last")
    phone.wait_for_sms(where=lambda text: text.text == "Last")
    assert [text.text for text in phone.inbox] == ["Once", "Last"]


def test_a_repeatability_id_without_its_date_is_rejected_alone(
    raw: Raw, landline: Server, fresh_number: Numbers
) -> None:
    """As the example of ACS's API specification has it."""
    undated = {"to": fresh_number(), "repeatabilityRequestId": str(uuid4())}
    answer = raw.send_sms(landline.phone_number, [undated, fresh_number()], "Undated")
    assert answer.status == 202, answer
    items = answer.json()["value"]
    assert [(item["httpStatusCode"], item["repeatabilityResult"]) for item in items] == [
        (400, "rejected"),
        (202, "accepted"),
    ]
    assert "repeatabilityFirstSent" in items[0]["errorMessage"]
    assert "messageId" not in items[0]
    alone = raw.send_sms(landline.phone_number, [undated], "Undated")
    assert (alone.status, alone.json()["value"]) == (202, items[:1])


def test_the_same_repeatability_id_with_another_text_sends_nothing_new(
    raw: Raw, landline: Server, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    ids = {"repeatabilityRequestId": str(uuid4()), "repeatabilityFirstSent": http_date()}
    recipient = {"to": phone.number, **ids}
    first = raw.send_sms(landline.phone_number, [recipient], "First").json()["value"][0]
    second = raw.send_sms(landline.phone_number, [recipient], "Second").json()["value"][0]
    assert second["repeatabilityResult"] == "rejected" or second["messageId"] == first["messageId"]
    raw.send_sms(landline.phone_number, [phone.number], "Last")
    phone.wait_for_sms(where=lambda text: text.text == "Last")
    assert [text.text for text in phone.inbox] == ["First", "Last"]


@pytest.mark.parametrize("version", ["2021-03-07", "2022-07-07", "2024-02-05", "2025-05-29-preview", "2026-01-23"])
def test_each_version_is_served(raw: Raw, landline: Server, fresh_number: Numbers, version: str) -> None:
    body = sms_body(landline.phone_number, [fresh_number()], "By any version")
    answer = raw.call("POST", "/sms", body, version=version)
    assert answer.status == 202, answer


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": None}, "from"),
        ({"smsRecipients": "+14255550123"}, "smsRecipients"),
        ({"message": 7}, "message"),
        ({"smsSendOptions": {"enableDeliveryReport": True, "deliveryReportTimeoutInSeconds": 59}}, "Timeout"),
        ({"smsSendOptions": {"enableDeliveryReport": True, "deliveryReportTimeoutInSeconds": 43201}}, "Timeout"),
    ],
)
def test_a_malformed_send_names_the_field(
    raw: Raw, landline: Server, fresh_number: Numbers, change: dict[str, Any], field: str
) -> None:
    body = {**sms_body(landline.phone_number, [fresh_number()], "x"), **change}
    answer = raw.call("POST", "/sms", body)
    assert answer.status == 400, answer
    assert field in str(answer)


async def test_a_report_that_never_comes_is_reported_as_timed_out(
    raw: Raw, landline: Server, inbox: Inbox, handset: Handsets, fresh_number: Numbers
) -> None:
    phone = handset(fresh_number())
    phone.behave("silent")
    answer = raw.send_sms(landline.phone_number, [phone.number], "Echo?", deliveryReportTimeoutInSeconds=60)
    message_id = answer.json()["value"][0]["messageId"]
    phone.wait_for_sms()
    landline.clock.advance(seconds=61)
    report = inbox.wait_for(REPORT, where=lambda data: data["messageId"] == message_id)
    assert report.data["deliveryStatus"] == "Failed"
    assert "5002" in raw.call("GET", f"/deliveryReports/{message_id}").json()["deliveryStatusDetails"]
