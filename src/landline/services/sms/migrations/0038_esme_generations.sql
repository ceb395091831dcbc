-- No two states of an account whose connections part have the same generation, also when one is deleted and another made
-- under its system id: processes know passwords that were right, and connections, by it.
CREATE SEQUENCE sms_esme_generations AS integer;
SELECT setval('sms_esme_generations', max(generation)) FROM sms_esme_accounts;
