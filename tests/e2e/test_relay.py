"""`landline dev --relay`: credentials issued over the API, a coturn beside it, and browsers that meet through it."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support import processes
from tests.support.chromium import Chromium, Page, ScriptFailed, chromium
from tests.support.signed import Raw
from tests.support.turn import Refused, Turn

from landline.testing import Server, ServerFailed
from landline.testing.trust import Trust

ENV = {"LANDLINE_RELAY_PORT": "0", "LANDLINE_RELAY_PEERS_ALLOW": "127.0.0.1"}


@pytest.fixture(scope="module")
def relay_log() -> Iterator[Path]:
    """Where the module's coturn logs what it does, and a program that runs it so."""
    with TemporaryDirectory(prefix="relay-") as place:
        Path(place).chmod(0o777)  # coturn runs as a user of its own
        log, program = Path(place) / "log", Path(place) / "turnserver"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("turnserver")} "$@" --verbose >>{log} 2>&1\n')
        program.chmod(0o755)
        yield log


@pytest.fixture(scope="module")
def relaying(landline_trust: Trust, relay_log: Path) -> Iterator[Server]:
    env = {**ENV, "LANDLINE_RELAY_PROGRAM": str(relay_log.with_name("turnserver"))}
    with Server(arguments=["--relay"], env=env) as server:
        landline_trust.add(server.ca_bundle)
        yield server


def configured(server: Server) -> list[dict[str, Any]]:
    """A configuration as an application gets it: RTCPeerConnection's `iceServers`."""
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    answer = raw.call("POST", "/networkTraversal/:issueRelayConfiguration", {"ttl": 600}, version="2022-03-01-preview")
    assert answer.status == 200, answer
    return answer.json()["iceServers"]


def issued(server: Server) -> dict[str, Any]:
    return configured(server)[0]


def client(server: dict[str, Any]) -> Turn:
    url = next(url for url in server["urls"] if url.startswith("turn:") and url.endswith("udp"))
    host, _, port = url.removeprefix("turn:").partition("?")[0].rpartition(":")
    return Turn((host, int(port)), server["username"], server["credential"])


def test_what_is_issued_opens_the_relay(relaying: Server) -> None:
    with client(issued(relaying)) as one, client(issued(relaying)) as other:
        one.allocate()
        other.allocate()
        assert one.relayed
        assert other.relayed
        one.permit(other.relayed[0])
        other.permit(one.relayed[0])
        one.send(other.relayed, b"hello")
        assert other.receive() == (one.relayed, b"hello")


def test_nothing_on_this_machine_is_reached_unless_it_is_allowed(landline_server: Any) -> None:
    server = landline_server(arguments=["--relay"], env={"LANDLINE_RELAY_PORT": "0"})
    admin = urlsplit(server.ready["adminUrl"])
    with client(issued(server)) as one:
        one.allocate()
        for peer in ("127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1"):
            with pytest.raises(Refused) as refused:
                one.bind_channel((peer, admin.port or 0))
            assert refused.value.code == 403


def test_health_tells_of_the_relay(relaying: Server) -> None:
    assert relaying.admin.call("GET", "/healthz")["checks"]["relay"] == "ok"


def relay_process(server: Server) -> processes.Process:
    return next(process for process in processes.tree(server.pid) if process.name.startswith("turnserver"))


def test_it_goes_with_its_server(landline_server: Any) -> None:
    server = landline_server(arguments=["--relay"], env=ENV)
    first = relay_process(server)
    secret = (server.data / "relay-secret").read_text()
    server.stop()
    assert not first.alive
    server.restart()
    assert (server.data / "relay-secret").read_text() == secret
    second = relay_process(server)
    server.kill()
    processes.wait_ended([second])
    server.restart()
    third = relay_process(server)
    os.kill(third.pid, signal.SIGKILL)
    processes.wait_ended([third])
    with client(issued(server)) as one:
        while not reachable(one):
            os.sched_yield()


def reachable(one: Turn) -> bool:
    try:
        one.binding()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"LANDLINE_RELAY_PROGRAM": "no-such-program"}, "apt-get install coturn"),
        ({"LANDLINE_RELAY_URLS": "turn:a.example:3478"}, "relay_urls"),
        ({"LANDLINE_RELAY_PEERS_ALLOW": "everything"}, "relay_peers_allow"),
        ({"LANDLINE_RELAY_SECRETS": "short"}, "relay_secrets"),
        ({"LANDLINE_RELAY_SECRETS": "a long enough one with\nno-cli"}, "relay_secrets"),
        ({"LANDLINE_RELAY_LISTEN": "localhost"}, "relay_listen"),
    ],
)
def test_settings_that_cannot_be_are_said_in_one_line(env: dict[str, str], said: str) -> None:
    server = Server(arguments=["--relay"], env={**ENV, **env})
    try:
        with pytest.raises(ServerFailed) as failed:
            server.start()
        assert said in str(failed.value).replace("\n", "")
        assert "Traceback" not in str(failed.value)
    finally:
        server.close()


SCRIPT = Path(__file__).with_name("relay.js").read_text()


async def test_two_pages_meet_through_the_relay_alone(relaying: Server, relay_log: Path) -> None:
    async with chromium() as browser:
        caller, callee = await browser.page(), await browser.page()
        try:
            await meet(caller, callee, configured(relaying), configured(relaying))
        except (ScriptFailed, TimeoutError) as failure:
            raise AssertionError(await state(browser, (caller, callee), relay_log)) from failure
        for page, heard in ((caller, "from callee"), (callee, "from caller")):
            assert await page.run("heard") == heard
            assert await page.run("framesDecoded(5)") >= 5
            assert await page.run("candidateTypes()") == ["relay", "relay"]


async def test_a_page_with_forged_credentials_is_given_no_relay(relaying: Server) -> None:
    forged = {**issued(relaying), "credential": "Zm9yZ2Vk"}
    async with chromium() as browser:
        page = await browser.page()
        await page.run(SCRIPT)
        description = await page.run(f"offer({json.dumps([forged])})")
        assert "typ relay" not in description["sdp"]
        assert any(refusal.startswith("401 ") for refusal in await page.run("refusals"))


async def meet(caller: Page, callee: Page, one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Offer, answer, and both have connected and heard the other."""
    await asyncio.gather(caller.run(SCRIPT), callee.run(SCRIPT))
    offer = await caller.run(f"offer({json.dumps(one)})")
    answer = await callee.run(f"answer({json.dumps(other)}, {json.dumps(offer)})")
    await caller.run(f"accept({json.dumps(answer)})")
    await asyncio.gather(caller.run("talk('from caller')"), callee.run("talk('from callee')"))


async def state(browser: Chromium, pages: Sequence[Page], relay_log: Path) -> str:
    """All that could tell why two pages do not meet."""
    told: list[str] = []
    for page in pages:
        try:
            report = await page.run("report()")
            statistics = report.pop("statistics")
            told += [json.dumps(report), *(json.dumps(one) for one in statistics)]
        except (ScriptFailed, TimeoutError, OSError) as failure:
            told.append(f"no report: {failure!r}")
        told += page.problems
    lines = relay_log.read_text("utf-8", "replace").splitlines()[-60:]
    return "\n".join(["they did not meet", *told, "-- Chromium:", *browser.said, "-- coturn:", *lines])
