-- Only receipts that were parked lately can still find their message, and those alone are looked through.
CREATE INDEX sms_parked_receipts_at ON sms_parked_receipts (parked_at);
