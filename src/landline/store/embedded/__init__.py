"""A PostgreSQL server of our own in a data directory: found, initialised, started, watched over and stopped."""

from landline.store.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
