"""Logs go to standard error, one event a line with what is bound to its request; those of the libraries too."""

import io
import json
import logging
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from landline.app.one_line import on_one_line
from landline.store.database import UNREACHED

_LIBRARIES = {"asyncio": logging.WARNING}
_READER_S = 0.5
"""How long a line waits for a reader that is slow; those after it do not wait until it reads again."""


def configure(level: str, style: str) -> None:
    """`level` and `style` as the settings log_level and log_format."""
    least, out = getattr(logging, level.upper()), _Lines(style)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        # Local variables hold texts, numbers and secrets; structlog would write them out.
        traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        rendered: list[Any] = [traceback, structlog.processors.JSONRenderer()]
    else:
        rendered = [
            _tells_no_terminal,
            structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=_traceback),
        ]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, out)),  # which writes and flushes, no more
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[*_of_libraries(), *rendered], foreign_pre_chain=shared)
    )
    handler.addFilter(_without_traceback)
    handler.addFilter(_of_use)
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING), force=True)
    for name, quiet in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(least, quiet))


def _tells_no_terminal(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What strangers and carriers are called stands among it. JSON escapes it by itself, and of what is no text
    structlog writes the `repr`."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = on_one_line(value)
    return event


def _traceback(out: TextIO, error: Any) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write("\n".join(map(on_one_line, text.getvalue().split("\n"))))


class _Lines:
    """Standard error, a line at a time and none kept back. When its disk is full, its reader has gone or reads no more,
    lines are lost and nothing else: whoever logs is in the middle of work that does not need the log."""

    def __init__(self, style: str) -> None:
        # A standard error that was closed at the start is None, and its number somebody else's by now.
        self._fd = sys.stderr.fileno() if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY)
        self._put = _without_waiting(self._fd)
        self._style = style
        self._lost = 0
        self._torn = False

    def write(self, text: str) -> int:
        """For who prints a line."""
        try:
            if self._lost:
                self._write(self._told())
                self._lost = 0
            self._write(text)
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        """Whether somebody looks on."""
        return os.isatty(self._fd)

    def _write(self, text: str) -> None:
        left = memoryview(("\n" * self._torn + text).encode(errors="backslashreplace"))
        until = time.monotonic() + (0.0 if self._lost else _READER_S)
        while left:
            try:
                written = self._put(left)
            except BlockingIOError:
                self._wait(until)
                continue
            left, self._torn = left[written:], True
        self._torn = False

    def _wait(self, until: float) -> None:
        """For the reader. Raises `TimeoutError`."""
        waits_s = until - time.monotonic()
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        if waits_s <= 0 or not room.poll(waits_s * 1000):
            raise TimeoutError

    def _told(self) -> str:
        told = {"event": "log.lines_lost", "level": "error", "lines": self._lost}
        at = datetime.now(UTC).isoformat()
        line = json.dumps({**told, "timestamp": at}) if self._style == "json" else f"{at} {told['event']} {self._lost}"
        return f"{line}\n"


def _without_waiting(fd: int) -> Callable[[memoryview], int]:
    """`write` to `fd` that raises `BlockingIOError` where a pipe or a socket is full. Others write to the same one, who
    are not to be told so: it stays as it is for them."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        own = socket.socket(fileno=os.dup(fd))
        return lambda data: own.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode):
        try:
            return partial(os.write, os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # there is no such directory, it is another user's pipe, or its reader has gone
            pass
    return partial(os.write, fd)


def _without_traceback(record: logging.LogRecord) -> bool:
    """That PostgreSQL has gone or lets nobody in is no bug: the driver's pool says it with a traceback at each try."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith("asyncpg") and isinstance(error, UNREACHED):
        record.msg = f"{record.getMessage()}: {type(error).__name__}: {error}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True


def _of_use(record: logging.LogRecord) -> bool:
    """Not what asyncio says at each end of nats-py's TLS, whose reader does not know that it is encrypted: it is of no
    consequence, and nobody who runs Landline can change it."""
    return "has no effect when using ssl" not in record.getMessage()


def _of_libraries() -> list[Any]:
    return [structlog.stdlib.add_logger_name, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
