"""The SMPP server for customers: they bind with a system id of their resource, submit, and get receipts and texts."""

from landline.engines.smpp.listener.config import ListenerConfig
from landline.engines.smpp.listener.server import SmppListener

__all__ = ["ListenerConfig", "SmppListener"]
