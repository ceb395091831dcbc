"""Service tokens of an issuer outside, as Microsoft Entra is one: which of its clients may call."""

import json
import ssl
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tests.support.signed import IDENTITY_VERSION, Raw

from landline.testing.server import Server

KEY = ec.generate_private_key(ec.SECP256R1())
IDENTITIES = f"/identities?api-version={IDENTITY_VERSION}"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Path]]:
    """Its URL, and the file of the CA that vouches for it."""
    authority = trustme.CA()
    bundle = tmp_path_factory.mktemp("issuer") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/keys"}
            if self.path == "/keys":
                found = {"keys": [{**jwk, "kid": "one"}]}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    url = f"https://127.0.0.1:{server.server_port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url, bundle
    server.shutdown()
    thread.join()
    server.server_close()


def token(issuer: str, **claims: str) -> str:
    now = int(time.time())
    usual = {"iss": issuer, "aud": "https://communication.azure.com", "iat": now, "nbf": now, "exp": now + 600}
    return jwt.encode({**usual, **claims}, KEY, algorithm="ES256", headers={"kid": "one"})


@pytest.mark.parametrize(("listed", "others"), [("our-app,our-job", 401), ("", 201)])
def test_only_the_listed_clients_of_an_issuer_may_call(issuer: tuple[str, Path], listed: str, others: int) -> None:
    url, bundle = issuer
    named = {"LANDLINE_OIDC_CLIENTS": listed} if listed else {}
    with Server(env={"LANDLINE_OIDC_ISSUER": url, "SSL_CERT_FILE": str(bundle), **named}) as server:
        raw = Raw(server.endpoint, server.access_key, server.ca_bundle)

        def status(**claims: str) -> int:
            headers = {"authorization": f"Bearer {token(url, **claims)}"}
            return raw.send("POST", IDENTITIES, b"", headers).status

        assert [status(azp="our-app", sub="s"), status(appid="our-job", sub="s"), status(sub="our-app")] == [201] * 3
        assert [status(azp="another", sub="s"), status(sub="somebody")] == [others] * 2
        assert status(azp="our-app", aud="https://elsewhere.example") == 401
