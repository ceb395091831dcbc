"""Keywords and their replies, set for a number over the admin API, as a phone meets them."""

from collections.abc import Generator

import pytest

from landline.testing import Server
from landline.testing.admin import AdminError

NUMBER = "+14255550100"
PATH = "/resources/local/numbers/%2B14255550100/keywords"


@pytest.fixture
def admin(landline: Server) -> Generator[Server]:
    """The running server, its number back in plain English afterwards."""
    yield landline
    landline.admin.call("DELETE", PATH)


def test_a_number_answers_in_the_languages_it_is_set_to(admin: Server) -> None:
    admin.admin.call("PUT", PATH, {"languages": [{"language": "es"}, {"language": "en"}]})
    handset = admin.handset("+14255550231")
    handset.send("¡Baja!", to=NUMBER)
    assert "Ya no recibirá mensajes" in handset.wait_for_sms().text
    handset.send("START", to=NUMBER)
    assert "re-subscribed" in handset.wait_for_sms().text


def test_a_text_of_its_own_replaces_the_preset_one(admin: Server) -> None:
    own = {"language": "en", "stop": ["genug"], "stopReply": "Bye from Contoso."}
    shown = admin.admin.call("PUT", PATH, {"languages": [own]})
    assert shown["languages"][0]["stop"] == ["genug"]
    assert shown["languages"][0]["start"] == ["start", "unstop"]
    handset = admin.handset("+14255550232")
    handset.send("Genug", to=NUMBER)
    assert handset.wait_for_sms().text == "Bye from Contoso."


def test_what_cannot_be_a_setting_is_refused_and_changes_nothing(admin: Server) -> None:
    for wrong in (
        {"languages": []},
        {"languages": [{"language": "xx"}]},
        {"languages": [{"language": "en", "stop": []}]},
        {"languages": [{"language": "en", "stop": ["Out"], "start": ["in", "OUT!"]}]},
        {"languages": [{"language": "en", "stop": ["x" * 161]}]},
        {"languages": [{"language": "en", "stop": ["stop", "!"]}]},
        {"languages": [{"language": "de", "start": ["weiter", "Stop"]}]},
        {"languages": [{"language": "de", "help": ["STOP!"]}, {"language": "en"}]},
        {"languages": [{"language": "en", "start": []}]},
        {"languages": [{"language": "en", "help": [f"help{number}" for number in range(65)]}]},
        {"languages": [{"language": "en", "helpReply": "x" * 2_049}]},
        {"languages": [{"language": "en"}] * 17},
    ):
        with pytest.raises(AdminError):
            admin.admin.call("PUT", PATH, wrong)
    assert [each["language"] for each in admin.admin.call("GET", PATH)["languages"]] == ["en"]


def test_a_sender_name_that_nobody_can_answer_has_no_keywords(landline: Server) -> None:
    with pytest.raises(AdminError, match="nobody can answer it"):
        landline.admin.call("PUT", "/resources/local/numbers/LANDLINE/keywords", {"languages": [{"language": "es"}]})
