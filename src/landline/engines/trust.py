"""How a certificate that somebody shows is checked: the same with each Python."""

import os
import ssl
from pathlib import Path

CONTEXTS_KEPT = 32
"""A context with the system's authorities takes most of a megabyte and 10 ms, and who is out of reach is tried again
each second or two: the garbage collector, which counts objects, would let hundreds of megabytes of them gather."""


def trusting(authority: str | Path | None) -> ssl.SSLContext:
    """For clients: those are trusted that the PEM file `authority` signed; the system's authorities when None.
    Raises `OSError` for a file of no use.

    From Python 3.13 on one from such a file would have to name its signer's key besides (RFC 5280 §4.2.1.1), which
    those that are made with a few lines of openssl do not: a carrier would be out of reach with a newer Python.
    """
    context = ssl.create_default_context(cafile=authority)
    if authority is not None:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def stamps(*files: str | Path | None) -> tuple[tuple[int, int, int] | None, ...]:
    """What is another once one of `files`, or of the system's authorities, has changed: a context that was made of them
    before will do until then. None for one that cannot be looked at."""
    system = ssl.get_default_verify_paths()
    return tuple(_stamp(file) for file in (*files, system.cafile, system.capath))


def _stamp(file: str | Path | None) -> tuple[int, int, int] | None:
    try:
        found = None if file is None else os.stat(file)
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)
