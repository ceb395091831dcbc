"""Logs go to standard error, one event a line with what is bound to its request; those of the libraries too."""

import logging
import sys
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from landline.store.database import UNREACHED

_LIBRARIES = {"asyncio": logging.WARNING}


def configure(level: str, style: str) -> None:
    """`level` and `style` as the settings log_level and log_format."""
    least = getattr(logging, level.upper())
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
        plain = structlog.dev.plain_traceback
        rendered = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[*_of_libraries(), *rendered], foreign_pre_chain=shared)
    )
    handler.addFilter(_without_traceback)
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING), force=True)
    for name, quiet in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(least, quiet))


def _without_traceback(record: logging.LogRecord) -> bool:
    """That PostgreSQL has gone or lets nobody in is no bug: the driver's pool says it with a traceback at each try."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith("asyncpg") and isinstance(error, UNREACHED):
        record.msg = f"{record.getMessage()}: {type(error).__name__}: {error}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True


def _of_libraries() -> list[Any]:
    return [structlog.stdlib.add_logger_name, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
