-- A message with a timer of its own is in a process's hands under a block of that process, which is its lease; before, its
-- timer was its lease, and whoever died with it left it lying for as long.
ALTER TABLE sms_messages ADD COLUMN claim_id uuid; -- in sms_blocks; null while it waits for its time
ALTER TABLE sms_messages DROP COLUMN claimed;
CREATE INDEX sms_messages_claim ON sms_messages (claim_id) WHERE claim_id IS NOT NULL;
DROP INDEX sms_messages_due;
CREATE INDEX sms_messages_due ON sms_messages (due_at) WHERE due_at IS NOT NULL AND claim_id IS NULL;
