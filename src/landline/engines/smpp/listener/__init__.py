"""The SMPP server for customers: they bind with a system id of their resource, submit, and get receipts and texts."""

from landline.engines.smpp.listener.server import ListenerConfig, SmppListener

__all__ = ["ListenerConfig", "SmppListener"]
