-- A receipt of a message that was taken back says so.
ALTER TABLE sms_esme_out ADD COLUMN canceled boolean NOT NULL DEFAULT false;

-- What waits from a sender to a recipient, for whoever takes it back without naming it. Of messages that are accepted,
-- handed over and reported in turn it holds none.
CREATE INDEX sms_messages_waiting ON sms_messages (resource_id, recipient, sender) WHERE due_at IS NOT NULL;

-- What data_coding 0 means in an account's texts.
ALTER TABLE sms_esme_accounts ADD COLUMN alphabet text NOT NULL DEFAULT 'gsm';
