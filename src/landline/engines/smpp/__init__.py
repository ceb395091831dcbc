"""SMPP towards carriers (the engine of the port `SmsCarrier`) and towards customers who speak SMPP (the listener)."""
