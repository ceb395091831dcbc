"""The admin API's own sending, as docs/guides/sending.md tells it, over real HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from landline.testing import Server
from landline.testing.admin import AdminError

PHONE = "+14255550177"


def test_a_scheduled_text_comes_at_its_time_and_is_smartly_encoded(landline: Server) -> None:
    inbox, handset = landline.inbox(), landline.handset(PHONE)
    now = datetime.fromisoformat(landline.admin.call("GET", "/clock")["now"])
    answer = landline.admin.call(
        "POST",
        "/resources/local/messages",
        {
            "from": landline.phone_number,
            "to": [PHONE],
            "message": "\u201cGood morning\u201d",
            "tag": "breakfast",
            "sendAt": (now + timedelta(hours=2)).isoformat(),
            "smartEncoding": True,
        },
    )
    [sent] = answer["value"]
    assert (sent["httpStatusCode"], sent["successful"]) == (202, True)
    landline.clock.advance(hours=3)
    assert handset.wait_for_sms().text == '"Good morning"'
    report = inbox.wait_for("Microsoft.Communication.SMSDeliveryReportReceived")
    assert report.data["messageId"] == sent["messageId"]
    landline.admin.call("POST", f"/messages/{sent['messageId']}/report:push")
    again = inbox.wait_for("Microsoft.Communication.SMSDeliveryReportReceived")
    assert again.data == report.data


def test_pools_are_kept_and_named_as_senders(landline: Server) -> None:
    pools = "/resources/local/sms/pools"
    landline.admin.call("PUT", f"{pools}/news", {"senders": ["+14255550100"]})
    assert landline.admin.call("GET", pools)["value"] == [{"name": "news", "senders": ["+14255550100"], "sticky": True}]
    with pytest.raises(AdminError) as refused:
        landline.admin.call("PUT", f"{pools}/news", {"name": "olds", "senders": ["+14255550100"]})
    assert refused.value.status == 400
    body = {"from": "pool:news", "to": [PHONE], "message": "hi"}
    [sent] = landline.admin.call("POST", "/resources/local/messages", body)["value"]
    assert sent["successful"]
    landline.admin.call("DELETE", f"{pools}/news")
    with pytest.raises(AdminError, match="no sender pool 'news'") as refused:
        landline.admin.call("POST", "/resources/local/messages", body)
    assert refused.value.status == 400


def test_what_cannot_be_is_refused(landline: Server) -> None:
    past = (datetime.now(UTC) - timedelta(days=400)).isoformat()
    for change, status in (
        ({"sendAt": past}, 400),
        ({"sendAt": "soon"}, 400),
        ({"to": []}, 400),
        ({"from": "+1"}, 400),
        ({"to": ["12"]}, 400),
    ):
        body = {"from": landline.phone_number, "to": [PHONE], "message": "hi"} | change
        with pytest.raises(AdminError) as refused:
            landline.admin.call("POST", "/resources/local/messages", body)
        assert refused.value.status == status
        assert f'"target":"{next(iter(change))}"' in str(refused.value)
    with pytest.raises(AdminError) as refused:
        landline.admin.call("DELETE", "/messages/nonsense")
    assert refused.value.status == 404


def test_a_text_without_a_delivery_report_still_counts_as_delivered(landline: Server) -> None:
    """Its sender gets no event. That the carrier brought it is the resource's to see all the same."""
    handset = landline.handset("+14255550178")
    inbox = landline.inbox()
    body = {"from": "+14255550100", "to": [handset.number], "message": "hi", "tag": "quiet"}
    [sent] = landline.admin.call("POST", "/resources/local/messages", {**body, "enableDeliveryReport": False})["value"]
    handset.wait_for_sms()
    landline.clock.advance(days=4)
    timeline = landline.admin.call("GET", f"/messages/{sent['messageId']}/timeline")
    assert (timeline["state"], timeline["code"]) == ("delivered", 2000)
    totals = landline.insights(since=landline.clock.now() - timedelta(days=5), tag="quiet")["totals"]
    assert (totals["accepted"], totals["delivered"], totals["failed"]) == (1, 1, 0)
    assert [event for event in inbox.events if event.data.get("messageId") == sent["messageId"]] == []
