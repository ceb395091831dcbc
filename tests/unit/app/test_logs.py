"""What the libraries log, as a process of its own has it on standard error: one event, one line."""

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging
import asyncpg
from landline.app import logs

logs.configure("info", "text")
try:
    raise {error}
except Exception:
    logging.getLogger("asyncpg.pool").warning("Failed to restore %s", "the pool", exc_info=True)
"""


def logged(error: str) -> str:
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr


@pytest.mark.parametrize("error", ["ConnectionRefusedError", "asyncpg.InvalidPasswordError"])
def test_a_database_that_is_away_or_lets_nobody_in_is_one_line(error: str) -> None:
    said = logged(f"{error}('nobody there')")
    assert f"Failed to restore the pool: {error.removeprefix('asyncpg.')}: nobody there" in said
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    assert "Traceback" in logged("ValueError('a bug')")


TLS_ENDS = """
import asyncio, logging, ssl
import trustme, uvloop
from landline.app import logs

logs.configure("info", "text")

async def main():
    authority, ours, theirs = trustme.CA(), ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=theirs)
    reader = asyncio.StreamReader()
    loop, port = asyncio.get_running_loop(), server.sockets[0].getsockname()[1]
    plain, protocol = await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader), "127.0.0.1", port)
    await loop.start_tls(plain, protocol, ours, server_hostname="localhost")  # as nats-py does it
    await reader.read()
    await asyncio.sleep(0)
    logging.getLogger("asyncio").warning("the end")

uvloop.run(main())
"""


def test_what_asyncio_says_of_each_end_of_tls_to_nats_is_left_out() -> None:
    command = [sys.executable, "-c", TLS_ENDS]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert "the end" in said
    assert said.count("\n") == 1, said


BUG = """
import logging
import structlog
from landline.app import logs

logs.configure("info", "{style}")

def send(recipient, text):
    raise ValueError("a " + "bug")  # from Python 3.13 on a traceback shows lines of `-c` as well

try:
    send(*(part * 2 for part in ("+1206", "pay")))
except ValueError:
    structlog.get_logger().exception("ours")
    logging.getLogger("asyncio").exception("theirs")
"""


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_tells_no_texts_and_no_numbers(style: str) -> None:
    command = [sys.executable, "-c", BUG.format(style=style)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert said.count("a bug") == 2
    assert "+1206+1206" not in said
    assert "paypay" not in said
    if style == "json":
        ours, theirs = map(json.loads, said.splitlines())
        assert [each["exception"][0]["frames"][-1]["name"] for each in (ours, theirs)] == ["send", "send"]


STRANGERS = """
import logging
import structlog
from landline.app import logs

logs.configure("info", "{style}")
evil = "a\\x1b[2J\\x9b1m\\u202e\\x07\\nforged line"
structlog.get_logger().warning("smpp.customer_refused", system_id=evil[:-12], reason=evil, tried=[evil])
logging.getLogger("theirs").warning("said %s", evil)
try:
    raise ValueError(evil)
except ValueError:
    structlog.get_logger().exception("ours")
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_a_stranger_is_called_rules_no_terminal(style: str) -> None:
    command = [sys.executable, "-c", STRANGERS.format(style=style)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert said.count("[2J") >= 4  # it is told, though
    assert not [character for character in said if character not in "\n " and not character.isprintable()]
    first, second = said.splitlines()[:2]
    assert "smpp.customer_refused" in first
    assert "forged line" in second  # within the line that it came in
    assert "said a" in second


GOES_ON = """
import logging
import os
import select
import socket
import resource
import structlog
from landline.app import logs

logs.configure("info", "json")
ours, theirs = structlog.get_logger(), logging.getLogger("asyncio")
for number in range(500):
    ours.info("before", number=number)
    theirs.warning("before")
print("went on", flush=True)
{then}
"""


@pytest.mark.parametrize("gone", ["full", "reader"])
def test_a_log_that_cannot_be_written_stops_nothing(gone: str) -> None:
    """A full disk, or the end of who reads it: a server that ended by it took its texts' carriers down with it."""
    if gone == "full":
        error = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, error = os.pipe()
        os.close(reader)
    try:
        command = [sys.executable, "-c", GOES_ON.format(then="")]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=error, text=True, timeout=60, check=False)
    finally:
        os.close(error)
    assert (ended.stdout, ended.returncode) == ("went on\n", 0)


def test_a_log_that_can_be_written_again_says_how_many_lines_it_lost(tmp_path: Path) -> None:
    room = "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))"  # as a disk with so much left
    more = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    program = GOES_ON.replace("logs.configure", f"{room}\nlogs.configure").format(then=f"{more}\nours.info('after')")
    file = tmp_path / "log"
    with file.open("ab") as error:
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=error, timeout=60, check=True)
    lines = file.read_text().splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    (lost,) = (each for each in said if each["event"] == "log.lines_lost")
    assert lost["level"] == "error"
    assert lost["lines"] == 1000 - sum(each["event"] == "before" for each in said)
    assert said[-1]["event"] == "after"


def _ends(kind: str) -> tuple[int, int]:
    """Two descriptors: to read, and to write."""
    if kind == "pipe":
        return os.pipe()
    near, far = socket.socketpair()
    return near.detach(), far.detach()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_log_that_nobody_reads_stops_nothing_and_says_what_it_lost_when_it_is_read_again(kind: str) -> None:
    """As a container's or a journal's that hangs: its pipe is full after 64 KiB."""
    reader, error = _ends(kind)
    program = GOES_ON.replace("range(500)", "range(3000)").format(then="input()\nours.info('after')")
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=error, text=True) as process:
        os.close(error)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "went on\n"
        said = b""
        while select.select([reader], [], [], 0)[0]:
            said += os.read(reader, 65536)
        process.stdin.write("\n")
        process.stdin.flush()
        while more := os.read(reader, 65536):
            said += more
    os.close(reader)
    told = [json.loads(line) for line in said.decode().splitlines() if line.startswith("{") and line.endswith("}")]
    [lost] = (each for each in told if each["event"] == "log.lines_lost")
    assert lost["lines"] == 6000 - sum(each["event"] == "before" for each in told)
    assert told[-1]["event"] == "after"


def test_a_log_that_is_read_slowly_loses_nothing() -> None:
    reader, error = os.pipe()
    patient = GOES_ON.replace("logs.configure", "logs._READER_S = 60\nlogs.configure").format(then="")
    command = [sys.executable, "-c", patient]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=error) as process:
        os.close(error)
        said = b""
        while more := os.read(reader, 1000):
            said += more
    os.close(reader)
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in said.decode().splitlines()] == ["before"] * 1000
