"""What the admin API refuses: a name misspelt is told, not passed over, and nothing is done."""

from typing import Any

import pytest

from landline.testing import Server
from landline.testing.admin import AdminError

SENDER, PHONE = "+18005550100", "+14255550142"
NUMBER = f"/resources/local/numbers/{SENDER}"
TIME = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
RANGE = {"first": "+18335550100", "last": "+18335550101"}
HOOK = {"name": "unmade", "endpoint": "http://127.0.0.1:1/"}
MISSPELT: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/resources/local/messages", {"from": SENDER, "to": [PHONE], "message": "hi", "sendat": "x"}, "sendat"),
    ("PUT", "/resources/local/sms/pools/unmade", {"senders": [SENDER], "stiky": False}, "stiky"),
    ("PUT", f"{NUMBER}/keywords", {"languages": [{"language": "en", "stopreply": "Bye"}]}, "stopreply"),
    ("POST", "/resources/local/numbers", {"number": "+18005550133", "carier": "x"}, "carier"),
    ("POST", "/resources/local/numbers", {"number": "+18005550133", "capabilities": {"smss": "none"}}, "smss"),
    ("POST", "/resources/local/smpp-accounts", {"systemId": "unmade", "rate": 1}, "rate"),
    ("POST", "/resources/local/subscriptions", {**HOOK, "eventTypes": []}, "eventTypes"),
    ("POST", "/resources", {"name": "unmade", "place": "eu"}, "place"),
    ("POST", "/numbers/stock:addRange", {**RANGE, "value": {}}, "value"),
    ("POST", "/carrier/rules", {"number": "*", "outcome": {"code": 4006}, "nht": 3}, "nht"),
    ("PUT", "/handsets/+14255550143", {"behavior": "silent"}, "behavior"),
    (
        "POST",
        "/resources/local/subscriptions",
        {**HOOK, "deliveryHeaders": [{"name": "a", "value": "b", "secret": True}]},
        "secret",
    ),
    ("POST", "/clock:advance", {"seconds": 1, "minutes": 1}, "minutes"),
    ("POST", "/resources/local/reports:push", {**TIME, "tag": "x"}, "tag"),
    ("POST", "/resources/local/messages:erase", {"number": PHONE, "incoming": False}, "incoming"),
]


@pytest.mark.parametrize(("method", "path", "body", "name"), MISSPELT, ids=[each[1] for each in MISSPELT])
def test_a_misspelt_field_is_named_and_nothing_is_done(
    landline: Server, method: str, path: str, body: dict[str, Any], name: str
) -> None:
    with pytest.raises(AdminError, match=f"`{name}`") as refused:
        landline.admin.call(method, path, body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "path", ["/resources/local/deadletters?subscripton=x", "/numbers/stock?to=5", "/handsets/+14255550144/inbox?afer=1"]
)
def test_a_misspelt_parameter_is_named(landline: Server, path: str) -> None:
    with pytest.raises(AdminError, match="There is no such parameter") as refused:
        landline.admin.call("GET", path)
    assert refused.value.status == 400


@pytest.mark.parametrize("number", ["", "*25*", "+14*25*", "14255550199", "+1x", "+1*\n", "+" + "1" * 16 + "*"])
def test_for_whom_a_rule_may_be_is_told(landline: Server, number: str) -> None:
    with pytest.raises(AdminError, match=r"for those that begin alike \(\+1425\*\), or all \(\*\)") as refused:
        landline.admin.call("POST", "/carrier/rules", {"number": number, "outcome": {"code": 4006}})
    assert refused.value.status == 400


@pytest.mark.parametrize(("name", "limit"), [("after=-1", 2**63 - 1), (f"after={2**63}", 2**63 - 1), ("wait=61", 60)])
def test_a_number_out_of_bounds_is_told_its_bounds(landline: Server, name: str, limit: int) -> None:
    with pytest.raises(AdminError, match=f"from 0 to {limit}\\."):
        landline.admin.call("GET", f"/handsets/+14255550144/inbox?{name}")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/resources/local/numbers", {"number": "+18005550133", "carrier": "nowhere"}),
        ("/numbers/stock:addRange", {**RANGE, "values": {"carrier": "nowhere"}}),
    ],
)
def test_a_number_of_a_carrier_that_is_not_there_is_refused(landline: Server, path: str, body: dict[str, Any]) -> None:
    """Its texts would wait for it until they fail."""
    with pytest.raises(AdminError, match="no carrier 'nowhere'") as refused:
        landline.admin.call("POST", path, body)
    assert refused.value.status == 400
    assert landline.admin.call("GET", "/numbers/stock")["value"] == []
    owned = landline.admin.call("GET", "/resources/local/numbers")["value"]
    assert "+18005550133" not in {each["number"] for each in owned}
