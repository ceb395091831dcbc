"""What `landline.testing` promises by itself: a webhook that speaks both handshakes, a plugin that costs nothing."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.patience import PATIENCE_S

from landline.testing import Inbox, Server, ServerFailed

RECEIVED = "Microsoft.Communication.SMSReceived"


@pytest.fixture
def alone() -> Generator[Inbox]:
    """An inbox that is subscribed to nothing."""
    inbox = Inbox()
    yield inbox
    inbox.close()


def post(inbox: Inbox, body: Any, method: str = "POST", **headers: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(inbox.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, parts.path, json.dumps(body) if body is not None else None, sent)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def event(identifier: str, **data: Any) -> dict[str, Any]:
    return {"id": identifier, "eventType": RECEIVED, "subject": "s", "data": data}


def test_an_inbox_answers_event_grids_handshake(alone: Inbox) -> None:
    asked = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "c-1"}}
    status, _, body = post(alone, [asked])
    assert (status, json.loads(body)) == (200, {"validationResponse": "c-1"})
    assert alone.events == []


def test_an_inbox_answers_the_handshake_of_cloud_events(alone: Inbox) -> None:
    status, headers, _ = post(alone, None, "OPTIONS", webhook_request_origin="landline.example")
    assert (status, headers["webhook-allowed-origin"]) == (200, "landline.example")


def test_an_inbox_fails_as_often_as_told_and_then_keeps_what_comes(alone: Inbox) -> None:
    alone.fail(2, status=500)
    assert [post(alone, [event("e-1", n=1)])[0] for _ in range(3)] == [500, 500, 200]
    assert alone.tries == 3
    assert alone.wait_for(RECEIVED).data == {"n": 1}


def test_an_inbox_that_is_to_fail_for_good_costs_nothing(alone: Inbox) -> None:
    """A status was kept for each answer that was to come: of a billion they took gigabytes, and each answer seconds."""
    alone.fail(1, status=500)
    alone.fail(10**15)
    assert [post(alone, [event("e-1")])[0] for _ in range(3)] == [500, 503, 503]
    alone.recover()
    assert post(alone, [event("e-1")])[0] == 200


def test_an_event_is_waited_for_by_its_data_and_given_once(alone: Inbox) -> None:
    post(alone, [event("e-1", n=1), event("e-2", n=2)])
    assert alone.wait_for(RECEIVED, where=lambda data: data["n"] == 2).id == "e-2"
    assert alone.wait_for(RECEIVED).id == "e-1"
    post(alone, [event("e-1", n=1)])
    with pytest.raises(TimeoutError):
        alone.wait_for(RECEIVED, timeout=0)
    assert [one.id for one in alone.events] == ["e-1", "e-2", "e-1"]


def test_what_came_instead_is_told_when_nothing_fits(alone: Inbox) -> None:
    post(alone, [event("e-1", n=1), event("e-2", n=2)])
    with pytest.raises(TimeoutError, match=f"0 of 1 SMSReceived came .* not waited for so far: 2 {RECEIVED}"):
        alone.wait_for("SMSReceived", timeout=0.01)


def test_a_server_that_was_never_started_says_so() -> None:
    server = Server()
    for ask in (lambda: server.connection_string, lambda: server.admin, lambda: server.handset("+14255550123")):
        with pytest.raises(ServerFailed, match="never started"):
            ask()
    server.close()


def test_a_server_that_runs_is_not_started_again(landline: Server) -> None:
    process = landline.pid
    with pytest.raises(ServerFailed, match="it is running"), landline:
        pass
    assert landline.pid == process
    assert landline.clock.now()


def test_texts_that_were_not_waited_for_are_told(landline: Server) -> None:
    phone = landline.handset("+14255550163")
    phone.send("STOP")
    phone.wait_for_sms(where=lambda text: "unsubscribed" in text.text)
    beside = landline.handset(phone.number)
    phone.send("START")
    beside.wait_for_sms(where=lambda text: "re-subscribed" in text.text)
    with pytest.raises(TimeoutError, match=r"passed over: .*re-subscribed"):
        phone.wait_for_sms(timeout=0, where=lambda text: "dinner" in text.text)


def test_what_is_no_event_is_refused(alone: Inbox) -> None:
    assert post(alone, 7)[0] == 400
    assert alone.events == []


def test_the_plugin_imports_nothing_but_pytest() -> None:
    told = (
        "import sys, pytest; before = set(sys.modules); import landline.testing.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["landline", "landline.testing", "landline.testing.plugin"]


def test_a_server_that_cannot_start_says_why(landline_server: Callable[..., Server]) -> None:
    with pytest.raises(ServerFailed, match="no-such-option"):
        landline_server(arguments=["--no-such-option"])


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Which an IDE, a cancelled build or a closed terminal ends without asking."""
    told = (
        "import sys; from pathlib import Path; from landline.testing import Server;"
        "server = Server(Path(sys.argv[1])).start(); print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", told, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        server = int(tests.stdout.readline())
        postgres = int((tmp_path / "data/postgresql/data/postmaster.pid").read_text().split("\n")[0])
        ends = [os.pidfd_open(each) for each in (server, postgres)]
        tests.kill()
    try:
        assert all(select.select([end], [], [], PATIENCE_S)[0] for end in ends), "it goes on"
        assert not (tmp_path / "data/server.json").exists(), "it was killed, not told"
    finally:
        for end in ends:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(end, signal.SIGKILL)
            os.close(end)


def test_what_modules_of_a_project_are_called_is_no_matter_to_its_server(
    landline_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("secrets", "token", "msgspec", "landline"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('a module of the project')")
    monkeypatch.chdir(tmp_path)
    assert landline_server().phone_number.startswith("+1")
