"""What tests share that kill servers under clients."""

import gc
from collections.abc import Generator

import pytest


@pytest.fixture
def half_made_connections() -> Generator[None]:
    """urllib3 leaves it to the garbage collector to close a socket cut before or during its TLS handshake: that
    is done here, before the next test. Tests that use it let the warnings about it pass (`unclosed <s`)."""
    yield
    gc.collect()
