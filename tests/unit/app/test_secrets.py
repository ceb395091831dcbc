"""Secrets in files: nobody else reads them, wherever the file is."""

import os
from pathlib import Path

import pytest

from landline.app.secrets import write_private


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
