"""Is each number sold once when many want it? 200 clients search and buy at once, 100 numbers are for sale.

Run `python -m bench.number_purchase` from the repository.
"""

import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import machine
from bench.load import Target
from tests.support.signed import signed_headers

from landline.testing import Server

CLIENTS = 200
NUMBERS = 100
TENANTS = 4
VERSION = "api-version=2025-06-01"
SEARCH = (
    b'{"phoneNumberType":"geographic","assignmentType":"application","areaCode":"999",'
    b'"capabilities":{"sms":"none","calling":"outbound"}}'
)


def main() -> None:
    """Print the figures; ends with an error when a number was sold twice, or not at all."""
    machine.header(f"{CLIENTS} clients, {NUMBERS} numbers: is each number sold exactly once?")
    with machine.server_under_test(machine.TLS) as (server, target):
        tenants = [target, *(tenant(server, target, f"buyer{number}") for number in range(1, TENANTS))]
        # An area code that the virtual stock has not: only these numbers fit.
        body = {
            "first": "+14259990000",
            "last": f"+1425999{NUMBERS - 1:04d}",
            "values": {"areaCode": "999", "kind": "geographic"},
        }
        server.admin.call("POST", "/numbers/stock:addRange", body)
        began = time.perf_counter()
        ended = Counter(sell(tenants))
        seconds = time.perf_counter() - began
        owned = [each for each in stock(server) if each["status"] == "owned"]
    load = f"{CLIENTS} clients at once of {TENANTS} resources, a connection each: search, poll, buy, poll"
    machine.result("sold", len(owned), f"of {NUMBERS} numbers", f"{load}; how clients ended: {dict(ended)}")
    machine.result("clients served", CLIENTS / seconds, "clients/s", load)
    assert len(owned) == NUMBERS == ended["bought"], "each number is sold exactly once"
    assert ended["OutOfStock"] == CLIENTS - NUMBERS, "and nobody else is told anything but that there are no more"


def tenant(server: Server, target: Target, name: str) -> Target:
    """Another resource on the same server, told apart by its key."""
    server.admin.call("POST", "/resources", {"name": name})
    keys = server.admin.call("GET", f"/resources/{name}/keys")
    key = keys["primaryConnectionString"].partition("accesskey=")[2].partition(";")[0]
    return Target(target.host, target.port, key, target.tls)


def stock(server: Server) -> list[dict[str, str]]:
    """The numbers for sale, with their owners."""
    return server.admin.call("GET", "/numbers/stock", query={"top": 1000})["value"]


def sell(tenants: list[Target]) -> list[str]:
    """All clients at once, each in a thread of its own; how each ended."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        return list(threads.map(client, [tenants[number % len(tenants)] for number in range(CLIENTS)]))


def client(target: Target) -> str:
    """Search one number and buy it, as an SDK would."""
    connection = http.client.HTTPSConnection(target.host, target.port, context=target.tls, timeout=60)
    status, headers, _ = send(
        connection, target, "POST", f"/availablePhoneNumbers/countries/US/:search?{VERSION}", SEARCH
    )
    assert status == 202, status
    _, _, operation = send(connection, target, "GET", headers["operation-location"])
    if operation["status"] == "succeeded":
        body = json.dumps({"searchId": headers["search-id"]}).encode()
        status, headers, _ = send(connection, target, "POST", f"/availablePhoneNumbers/:purchase?{VERSION}", body)
        assert status == 202, status
        _, _, operation = send(connection, target, "GET", headers["operation-location"])
    connection.close()
    return "bought" if operation["status"] == "succeeded" else operation["error"]["code"]


def send(
    connection: http.client.HTTPSConnection, target: Target, method: str, path: str, body: bytes = b""
) -> tuple[int, dict[str, str], Any]:
    """One signed request: (status, headers, JSON)."""
    headers = signed_headers(target.key, f"{target.host}:{target.port}", method, path, body)
    connection.request(method, path, body, {**headers, "content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, text and json.loads(text)


if __name__ == "__main__":
    main()
