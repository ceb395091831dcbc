"""How `landline dev` ends, and what a second start on its data is told."""

import os
import signal
import subprocess
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
from landline.testing.server import COMMAND

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


def test_a_server_whose_certificates_are_new_before_it_has_read_them_goes_on_starting(tmp_path: Path) -> None:
    """Its configuration is a pipe: it waits there until the signal was sent."""
    configuration = tmp_path / "landline.toml"
    os.mkfifo(configuration)
    command = [*COMMAND, "serve", "--config", str(configuration)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with configuration.open("w") as written:
        process.send_signal(signal.SIGHUP)
        written.write("no_such_setting = 1\n")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert "no_such_setting" in said
    assert process.returncode == 1


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = ["nohup", *COMMAND, "dev", "--data", str(tmp_path / "data"), "--port", "0", "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        processes.wait_serving(process, ready)
        process.send_signal(signal.SIGHUP)
    finally:
        process.terminate()  # the first that it takes: it drains
    assert process.wait(PATIENCE_S) == 0


def test_ctrl_c_while_its_workers_read_their_modules_shows_no_traceback(tmp_path: Path) -> None:
    env = {**os.environ, "LANDLINE_DRIVEN_CLOCK": "false"}
    command = [*COMMAND, "dev", "--data", str(tmp_path / "data"), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told: set[int] = set()
        while len(told) < 2:
            assert process.poll() is None
            for each in processes.tree(process.pid):
                if each.pid not in told and "landline.app.child" in processes.command(each.pid):
                    os.kill(each.pid, signal.SIGINT)
                    told.add(each.pid)
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    assert "workers.died" not in said
