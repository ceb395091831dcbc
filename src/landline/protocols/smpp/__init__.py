"""SMPP 3.4 without I/O: PDUs, sessions of both sides, delivery receipts, long texts, pacing."""
