"""The command `landline`. What a command needs is imported when it runs: asking for help or a list is quick."""

import errno
import io
import sys
from typing import NoReturn

from cyclopts import App, CycloptsError

import landline
from landline.app import cli_accounts, cli_admin, cli_doctor, cli_messages, cli_server, cli_settings, cli_subscription
from landline.core.errors import Refusal, Unavailable

app = App(
    name="landline",
    help="The communications platform you run yourself, behind the public wire of Azure Communication Services.",
    version=landline.__version__,
)
_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What is the matter with the machine, not with the program: its user needs no traceback."""

cli_server.add_to(app)
cli_doctor.add_to(app)
cli_admin.add_to(app)
cli_subscription.add_to(app)
cli_messages.add_to(app)
cli_settings.add_to(app)
cli_accounts.add_to(app)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 refused or failed, 130 interrupted. Errors are one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a tag may have characters that the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(f"{' '.join(str(error).split())} Try: landline --help")
    except (Refusal, Unavailable) as error:
        _fail(error.message)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        _fail(
            f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}: mend that, or choose another directory"
        )
    sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str) -> NoReturn:
    print(f"landline: {message}", file=sys.stderr)
    sys.exit(1)
