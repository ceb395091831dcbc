"""The command `landline`. What a command needs is imported when it runs: asking for help or a list is quick, and Ctrl-C
while modules are read is the same as at any other moment."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cyclopts import CycloptsError

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What is the matter with the machine, not with the program: its user needs no traceback."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 refused or failed, 130 interrupted. Errors are one line."""
    try:
        if sys.argv[1:2] in (["serve"], ["worker"]):  # who says so early has new certificates, which are not read yet
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _open_streams()
        sys.exit(_run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: list[str] | None) -> int:
    from cyclopts import CycloptsError

    from landline.app.commands import app
    from landline.core.errors import Refusal, Unavailable

    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = " ".join(["landline", *(error.command_chain or ())])
        _fail(f"{_said(error)} Try: {command} --help")
    except (Refusal, Unavailable) as error:
        _fail(error.message)
    except BrokenPipeError:
        return 1
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            raise
        _fail("what was given is not UTF-8: write it in UTF-8, and set LANG to a locale such as C.UTF-8")
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        _fail(
            f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}: mend that, or choose another directory"
        )
    return result if isinstance(result, int) else 0


def _said(error: CycloptsError) -> str:
    """Its words in one line. Of a parameter that is not there at all it says that this "requires an argument"."""
    words, argument = " ".join(str(error).split()), error.argument
    there = argument is not None and (argument.tokens or getattr(error, "keyword", None))
    return words if there else words.replace("requires an argument", "is missing")


def _open_streams() -> None:
    """Whoever starts us may have closed standard streams: then what is opened first, sockets too, would get their
    numbers, and libuv ends a process that closes one of these."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a tag may have characters that the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str) -> NoReturn:
    print(f"landline: {message}", file=sys.stderr)
    sys.exit(1)
