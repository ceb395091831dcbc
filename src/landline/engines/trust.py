"""How a certificate that somebody shows is checked: the same with each Python."""

import ssl
from pathlib import Path


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
