"""ejabberd of Debian's package as a venue: its multi-user chat in memory, over plain TCP, one user's stream a socket.

It runs as a child of ours in a directory of its own, without Erlang's distribution and so without `epmd`.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from bench import machine
from bench.chat.ears import Ears, Wire
from bench.chat.loop import Loop
from bench.chat.venues import Sent
from tests.support import processes

_READY_S, _END_S, _LOOK_EVERY_S, _TIMEOUT_S = 30.0, 10.0, 0.1, 30.0
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_HEAD = (
    "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
_CONFIGURATION = """
hosts: [localhost]
loglevel: error
disable_sasl_mechanisms: []
auth_method: anonymous
anonymous_protocol: sasl_anon
allow_multiple_connections: true
acl: {}
access_rules: {c2s: {allow: all}}
listen:
  - {port: %d, ip: "127.0.0.1", module: ejabberd_c2s, starttls: false, shaper: none, access: all}
modules:
  mod_muc:
    access: all
    access_create: all
    max_users: 5000
    history_size: 0
    max_user_conferences: 10
    default_room_options: {presence_broadcast: [], persistent: false, max_users: 5000, logging: false}
"""


def installed() -> str | None:
    """ejabberd's version, None without it."""
    if shutil.which("ejabberdctl", path="/usr/sbin:/usr/bin") is None or shutil.which("erl") is None:
        return None
    found = sorted(Path(_LIBRARIES).glob("ejabberd-*"))
    return found[-1].name.partition("-")[2] if found else None


class Ejabberd:
    """Fills `Venue`. It does not say when it has taken a message."""

    name = "ejabberd"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ejabberd-"))
        self._port = machine.free_port()
        (self._directory / "ejabberd.yml").write_text(_CONFIGURATION % self._port)
        self.loop = Loop()
        self.ears = Ears(self.loop, Wire(b"<body>", b">"))
        self._rooms: list[socket.socket] = []
        self._size = (0, 0)
        self._process = self._started()
        deadline = time.monotonic() + _READY_S
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.close()
                raise TimeoutError(f"ejabberd was not there within {_READY_S} s")
            time.sleep(_LOOK_EVERY_S)

    def open(self, rooms: int, members: int) -> None:
        """See `Venue`. Rooms are made by who first enters them."""
        self._size = (rooms, members)

    def listen(self) -> None:
        """See `Venue`."""
        rooms, members = self._size
        for number in range(rooms * members):
            room, member = divmod(number, members)
            stream = self._entered(room, number)
            if member == 0:
                self._rooms.append(stream)
            self.ears.add(stream, room)

    def send(self, room: int, text: str, sent: Sent) -> None:
        """See `Venue`."""
        to = f"room{room}@conference.localhost"
        self._rooms[room].sendall(f"<message to='{to}' type='groupchat'><body>{text}</body></message>".encode())
        sent(True)

    def pids(self) -> tuple[list[int], list[int]]:
        """See `Venue`."""
        return [process.pid for process in processes.tree(self._process.pid)], []

    def close(self) -> None:
        """See `Venue`."""
        self.ears.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _started(self) -> "subprocess.Popen[bytes]":
        own = self._directory
        env = {
            **os.environ,
            "ERL_LIBS": _LIBRARIES,
            "EJABBERD_CONFIG_PATH": str(own / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(own / "ejabberd.log"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "HOME": str(own),
        }
        # What Debian's ejabberdctl gives it.
        options = ["+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir", f'"{own}"']
        return subprocess.Popen(
            ["erl", *options, "-s", "ejabberd"],
            cwd=own,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self._port), timeout=1)):
            return True
        return False

    def _entered(self, room: int, number: int) -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _asked(stream, _HEAD, b"</stream:features>")
        _asked(stream, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", b"<success")
        _asked(stream, _HEAD, b"</stream:features>")
        _asked(stream, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", b"</iq>")
        muc = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"
        to = f"room{room}@conference.localhost/user{number}"
        _asked(stream, f"<presence to='{to}'>{muc}</presence>", b"<subject")
        return stream


def _asked(stream: socket.socket, text: str, until: bytes) -> None:
    stream.sendall(text.encode())
    had = b""
    while until not in had or not had.endswith(b">"):
        data = stream.recv(16_384)
        if not data or b"<failure" in had:
            raise ConnectionError(f"ejabberd refused: {had[-300:]!r}")
        had += data
