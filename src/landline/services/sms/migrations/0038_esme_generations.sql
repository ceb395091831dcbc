-- No two states of an account whose connections part have the same generation, also when one is deleted and another made
-- under its system id: processes know passwords that were right, and connections, by it.
CREATE SEQUENCE sms_esme_generations AS integer;
SELECT setval('sms_esme_generations', max(generation)) FROM sms_esme_accounts;

-- Which account it is of those that had its system id, and the account that a message came from: NULL for messages of
-- earlier versions.
ALTER TABLE sms_esme_accounts ADD COLUMN number integer NOT NULL DEFAULT 0;
ALTER TABLE sms_esme_messages ADD COLUMN account integer;
