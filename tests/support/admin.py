"""Requests to the admin API as anybody would send them, whatever it answers."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.support.signed import Answer

from landline.testing import Server


def admin(server: Server, method: str, path: str, body: Any = None) -> Answer:
    """What the admin API answers."""
    at = urlsplit(server.admin.url)
    connection = HTTPConnection(at.hostname or "", at.port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        headers = {"authorization": f"Bearer {server.ready['adminToken']}", "content-type": "application/json"}
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()
