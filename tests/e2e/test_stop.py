"""How `landline dev` ends, and what a second start on its data is told."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from tests.support import processes
from tests.support.patience import PATIENCE_S
from tests.support.signed import Raw

from landline.app import workers
from landline.testing import Server, ServerFailed

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
    pytest.mark.usefixtures("half_made_connections"),
]

PROMISED_S = 5.0


def test_what_its_parts_are_given_to_end_is_within_what_is_promised() -> None:
    """What takes longer is cut off; how long a machine then takes is its own."""
    assert workers._DRAIN_S <= PROMISED_S


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_and_leaves_no_process(landline_server: Callable[..., Server], ended_by: signal.Signals) -> None:
    server = landline_server()
    running = processes.tree(server.pid)
    assert processes.postmaster(server.pid) in running
    server.stop(with_signal=ended_by)
    assert [process for process in running if process.alive] == []


def test_it_ends_under_load_and_while_a_long_poll_waits(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    busy = threading.Semaphore(0)

    def send_on() -> None:
        with suppress(OSError, HTTPException):
            while raw.send_sms(server.phone_number, ["+14255550123"] * 10, "load").status == 202:
                busy.release()

    def wait_long() -> None:
        with suppress(Exception):
            server.handset("+14255550177").wait_for_sms(timeout=2 * PATIENCE_S)

    threads = [threading.Thread(target=target) for target in (send_on, send_on, wait_long)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert busy.acquire(timeout=PATIENCE_S)
    running = processes.tree(server.pid)
    server.stop()
    for thread in threads:
        thread.join()
    assert [process for process in running if process.alive] == []


def test_a_second_start_on_the_same_data_is_told_why_not(
    landline_server: Callable[..., Server], tmp_path: Path
) -> None:
    first = landline_server(data=tmp_path / "data")
    second = Server(tmp_path / "data")
    with pytest.raises(ServerFailed, match=r"ended with [1-9]"):
        second.start()
    assert str(tmp_path / "data") in second.log.replace("\n", "")
    assert "Traceback" not in second.log
    second.close()
    assert first.clock.now()


def test_a_kill_of_the_supervisor_leaves_no_postgresql_for_long(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    running = processes.tree(server.pid)
    server.kill()
    server.restart()
    processes.wait_ended(running)
