"""The main job, told once from end to end: `landline dev`, the official SDK, a handset, a webhook, STOP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.communication.identity import CommunicationIdentityClient
from azure.communication.sms import SmsClient

from landline.testing import Handset, Inbox, Server

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"


def test_from_the_connection_string_to_an_honoured_stop(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    assert {"connectionString", "caBundle", "phoneNumber", "adminUrl", "adminToken"} <= server.ready.keys()
    inbox, phone = server.inbox(), server.handset("+14255550123")

    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    user, token = identity.create_user_and_token(["chat", "voip"])
    assert user.raw_id.startswith("8:acs:")
    assert token.token.count(".") == 2

    client = SmsClient.from_connection_string(server.connection_string)
    message_id = send(client, server, phone, "Your table is ready")
    arrived = phone.wait_for_sms()
    assert (arrived.text, arrived.sender) == ("Your table is ready", server.phone_number)
    assert report_of(inbox, message_id)["deliveryStatus"] == "Delivered"

    phone.reply("STOP")
    assert "unsubscribed" in phone.wait_for_sms().text
    assert inbox.wait_for(RECEIVED).data["message"] == "STOP"

    blocked = report_of(inbox, send(client, server, phone, "Come back!"))
    assert blocked["deliveryStatus"] == "Failed"
    assert "Sender blocked for given recipient." in blocked["deliveryStatusDetails"]
    assert len(phone.inbox) == 2
    assert "4007" in str(timeline(server, blocked["messageId"]))


def test_what_a_handset_sends_is_found_by_the_id_that_it_is_told(landline: Server, inbox: Inbox) -> None:
    phone = landline.handset("+14255550161")
    message_id = phone.send("Is the table ready?")
    event = inbox.wait_for(RECEIVED, where=lambda data: data["from"] == phone.number)
    assert event.data["messageId"] == message_id
    told: Any = timeline(landline, message_id)
    assert (told["direction"], told["from"], told["steps"][0]["what"]) == ("incoming", phone.number, "received")


def test_what_a_handset_got_is_found_by_the_key_in_its_inbox(landline: Server) -> None:
    phone = landline.handset("+14255550162")
    client = SmsClient.from_connection_string(landline.connection_string)
    message_id = send(client, landline, phone, "Your table is ready")
    told: Any = timeline(landline, phone.wait_for_sms().raw["messageKey"])
    assert told["messageId"] == message_id


def test_what_was_stored_is_there_after_a_restart_on_the_same_data(
    landline_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = landline_server(data=tmp_path / "data")
    before = dict(server.ready)
    client = SmsClient.from_connection_string(server.connection_string)
    message_id = send(client, server, server.handset("+14255550123"), "Before the restart")
    server.handset("+14255550123").send("STOP")
    server.stop()
    server.restart()
    assert {name: server.ready[name] for name in ("connectionString", "phoneNumber", "caBundle")} == {
        name: before[name] for name in ("connectionString", "phoneNumber", "caBundle")
    }
    inbox = server.inbox()
    blocked = report_of(inbox, send(client, server, server.handset("+14255550123"), "Still blocked"))
    assert "Sender blocked for given recipient." in blocked["deliveryStatusDetails"]
    assert timeline(server, message_id)


def send(client: SmsClient, server: Server, phone: Handset, text: str) -> str:
    sent = client.send(server.phone_number, [phone.number], text, enable_delivery_report=True)
    assert sent[0].successful
    return sent[0].message_id


def report_of(inbox: Inbox, message_id: str) -> dict[str, str]:
    return inbox.wait_for(REPORT, where=lambda data: data["messageId"] == message_id).data


def timeline(server: Server, message_id: str) -> object:
    return server.admin.call("GET", f"/messages/{message_id}/timeline")


def test_the_timeline_tells_every_step_and_every_try_of_the_webhook(landline_server: Callable[..., Server]) -> None:
    landline = landline_server()  # of its own: no other test's webhook is told, and no other test's message meets ours
    inbox, phone = landline.inbox(), landline.handset("+14255550241")
    inbox.fail(1, status=503)
    client = SmsClient.from_connection_string(landline.connection_string)
    sent = client.send(landline.phone_number, phone.number, "where am I?", enable_delivery_report=True)[0]
    phone.wait_for_sms()
    landline.clock.advance(minutes=1)
    inbox.wait_for("Microsoft.Communication.SMSDeliveryReportReceived", where=lambda data: data["to"] == sent.to)
    told: Any = landline.admin.call("GET", f"/messages/{sent.message_id}/timeline")
    assert [step["what"] for step in told["steps"]][:4] == ["accepted", "queued", "submitted", "reported"]
    assert [step["status"] for step in told["steps"] if step["what"] == "webhook"][:1] == [503]
    assert told["state"] == "delivered"
    inbox.close()
