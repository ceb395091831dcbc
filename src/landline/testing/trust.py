"""The development CAs of the servers a test run starts, made known to the HTTP clients of the process, which ask no
proxy for these servers either.

The sync Azure SDKs read REQUESTS_CA_BUNDLE, the async ones SSL_CERT_FILE, Node NODE_EXTRA_CA_CERTS (acs-wire.md 2.4).
"""

import os
import re
import ssl
import sys
from pathlib import Path

from landline.app import proxies

VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Trust:
    """One bundle file for the whole run, to which each server's certificates are added; `restore` undoes it."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self._known: set[bytes] = set()
        self._before = {name: os.environ.get(name) for name in (*VARIABLES, *proxies.VARIABLES)}

    def add(self, ca_bundle: str) -> None:
        """Trust what `ca_bundle` (a PEM file) holds, from now on and in children started from now on."""
        new = [one for one in _CERTIFICATE.findall(Path(ca_bundle).read_bytes()) if one not in self._known]
        self._known.update(new)
        with self._bundle.open("ab") as file:
            file.writelines(one + b"\n" for one in new)
        for name in VARIABLES:
            os.environ[name] = str(self._bundle)
        os.environ.update(proxies.passed_by(os.environ))
        self._tell_aiohttp()

    def restore(self) -> None:
        """Put the environment back as it was."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _tell_aiohttp(self) -> None:
        # aiohttp makes its default TLS context once, when it is imported; imported earlier, it has missed the variable.
        context = getattr(sys.modules.get("aiohttp.connector"), "_SSL_CONTEXT_VERIFIED", None)
        if isinstance(context, ssl.SSLContext):
            context.load_verify_locations(cafile=str(self._bundle))
