"""How a command finds the server it is to ask: what cannot be asked is said in one line."""

import os
from pathlib import Path

import pytest

from landline.app.client import CannotAsk, find


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
