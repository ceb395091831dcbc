"""An SMSC for tests and benchmarks of software that speaks SMPP: real sockets, and whatever misconduct is asked for."""

from landline.testing.smsc.model import Conduct, ReceiptTime, Received, Rule
from landline.testing.smsc.server import Smsc

__all__ = ["Conduct", "ReceiptTime", "Received", "Rule", "Smsc"]
