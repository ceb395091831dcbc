-- What a message was to cost by the carrier that was chosen when it was accepted, in millionths of the deployment's
-- currency. NULL where that had no price, and for what was blocked at once.
ALTER TABLE sms_messages ADD COLUMN cost bigint;
