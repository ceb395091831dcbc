-- Each process looks for the blocks it holds every other second; those that wait for reports are nobody's, and may be
-- millions.
CREATE INDEX sms_blocks_owner ON sms_blocks (owner) WHERE owner IS NOT NULL;
