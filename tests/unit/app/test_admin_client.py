"""How a command finds the server it is to ask: what cannot be asked is said in one line."""

import os
import shutil
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme

from landline.app import ready
from landline.app.admin_client import CannotAsk, find


class Quiet(BaseHTTPRequestHandler):
    """Answers what it cannot read with 400, and says nothing of it."""

    timeout = 20.0

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # its client has gone, or agrees on no TLS
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        pass


@pytest.mark.parametrize(
    "url", ["localhost:9443", "127.0.0.1:9443", "http://", "http://127.0.0.1:99999", "http://[::1", "ftp://x", "http"]
)
def test_what_is_no_admin_url_is_said_to_be_none(url: str) -> None:
    with pytest.raises(CannotAsk, match="is no admin URL: one is like"):
        find(None, url, "a-token")


@pytest.mark.parametrize("token", ["two\nlines", "t\u00f6ken", "\0"])
def test_a_token_that_no_header_takes_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(CannotAsk, match="the admin token has characters that no token has") as refused:
        find(None, "http://127.0.0.1:9443", token)
    assert token not in refused.value.message


def test_what_a_copy_brings_along_is_left_out() -> None:
    assert find(None, " http://127.0.0.1:9443/ ", "a-token\n").url == "http://127.0.0.1:9443"


def test_a_server_that_speaks_plain_http_is_not_said_to_be_none() -> None:
    """The admin API does, and whoever writes https:// for it had been told to start a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            with pytest.raises(CannotAsk, match=r"speaks plain HTTP: write http:// in place of https://$"):
                find(None, f"https://127.0.0.1:{server.server_port}", "a-token").get("resources")
        finally:
            server.shutdown()
            serving.join()


def test_a_certificate_that_is_not_trusted_is_not_said_to_be_no_server() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            with pytest.raises(CannotAsk, match=r"is not trusted \(.*\): have SSL_CERT_FILE name its authority"):
                find(None, f"https://127.0.0.1:{server.server_port}", "a-token").get("resources")
        finally:
            server.shutdown()
            serving.join()


def test_a_directory_of_another_user_is_not_said_to_have_no_server(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "server.json").write_text("{}")
    directory.chmod(0)
    own = os.geteuid()
    try:
        if own == 0:  # who may look everywhere
            os.seteuid(65534)
        with pytest.raises(CannotAsk, match="is another user's: ask as that one"):
            find(directory, None, None)
    finally:
        os.seteuid(own)
        directory.chmod(0o700)


def test_a_copy_of_a_data_directory_does_not_lead_to_the_server_of_the_original(tmp_path: Path) -> None:
    directory, copy, moved = tmp_path / "data", tmp_path / "copy", tmp_path / "moved"
    directory.mkdir()
    wrote = ready.Ready(admin_url="http://127.0.0.1:9443", admin_token="a", directory=ready.identity(directory))
    ready.write(wrote, directory / ready.IN_DATA)
    shutil.copytree(directory, copy)
    with pytest.raises(CannotAsk, match=f"no server runs on {copy}"):
        find(copy, None, None)
    (tmp_path / "link").symlink_to(directory)
    assert find(tmp_path / "link", None, None).url == find(directory, None, None).url == "http://127.0.0.1:9443"
    directory.rename(moved)
    assert find(moved, None, None).url == "http://127.0.0.1:9443"


def test_what_a_server_of_a_version_before_wrote_is_taken(tmp_path: Path) -> None:
    ready.write(ready.Ready(admin_url="http://127.0.0.1:9443", admin_token="a"), tmp_path / ready.IN_DATA)
    assert find(tmp_path, None, None).url == "http://127.0.0.1:9443"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"adminUrl":"\xff","adminToken":"a"}', b"\xff"])
def test_what_no_server_wrote_is_not_taken_for_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ready.IN_DATA).write_bytes(content)
    with pytest.raises(CannotAsk, match=f"no server runs on {tmp_path}"):
        find(tmp_path, None, None)
