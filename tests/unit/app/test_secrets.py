"""Secrets in files: nobody else reads them, wherever the file is."""

import json
import os
import secrets
from pathlib import Path

import pytest

from landline.app.carriers import smpp_config
from landline.app.config import load
from landline.app.secrets import sealing_secret, write_private
from landline.store.sealing import Sealer, WrongSeal


@pytest.mark.parametrize("link", [False, True])
def test_what_others_put_where_a_secret_is_written_first_gets_nothing_of_it(tmp_path: Path, *, link: bool) -> None:
    """Where `--ready-file` names a directory such as /tmp, others may make files, and a process's id is no secret."""
    theirs, file = tmp_path / "theirs", tmp_path / "ready.json"
    waiting = tmp_path / f".ready.json.{os.getpid()}"
    if link:
        theirs.write_text("")
        waiting.symlink_to(theirs)
    else:
        waiting.write_text("")
        theirs.hardlink_to(waiting)
    theirs.chmod(0o666)
    write_private(file, "the secret")
    assert file.read_text() == "the secret"
    assert (file.is_symlink(), file.stat().st_mode & 0o777) == (False, 0o600)
    assert theirs.read_text() == ""
    assert not waiting.exists()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_setting_of_the_environment_may_have_the_end_of_the_line_it_was_made_from(end: str) -> None:
    """A secret of Kubernetes that was made of what `echo` says has one; a file's is left out as well."""
    table = {"kind": "smpp", "name": "north", "host": "smsc.example", "port": 2775, "system_id": "me"}
    environment = {
        "LANDLINE_CARRIERS": json.dumps([table]) + end,
        "LANDLINE_CARRIER_NORTH_PASSWORD": "secret" + end,
        "LANDLINE_DSN": "postgresql://me:pw@db.example/landline" + end,
        "LANDLINE_OIDC_AUDIENCE": "https://sms.example.com" + end,
        "LANDLINE_LOG_FORMAT": "json" + end,
    }
    config = load("worker", environment=environment, flags={})
    assert smpp_config(config.carriers[0]).password == "secret"
    assert config.dsn == "postgresql://me:pw@db.example/landline"
    assert config.oidc_audience == "https://sms.example.com"


@pytest.mark.parametrize(("begun", "goes_on"), [("", "\n"), ("\n", ""), ("\r\n", ""), ("\n", "\r\n")], ids=repr)
def test_what_was_sealed_with_a_secret_opens_with_it_by_whatever_way_it_comes(begun: str, goes_on: str) -> None:
    """One of the environment is kept to the letter, for servers have begun with it; its file has none of its end."""
    secret = secrets.token_urlsafe(32)
    first, then = (
        sealing_secret(load("serve", environment={"LANDLINE_SEALING_SECRET": secret + end}, flags={}))
        for end in (begun, goes_on)
    )
    assert first is not None
    assert then is not None
    assert Sealer(then.encode()).open(Sealer(first.encode()).seal(b"key", "purpose"), "purpose") == b"key"
    with pytest.raises(WrongSeal):
        Sealer((then + "x").encode()).open(Sealer(first.encode()).seal(b"key", "purpose"), "purpose")
