-- What the gateway decides about a message beside its state (docs/design/gateway.md). None of it is indexed, so that
-- updates stay HOT.
ALTER TABLE sms_messages ADD COLUMN doubt smallint NOT NULL DEFAULT 0; -- how often a carrier may have got it unanswered
ALTER TABLE sms_messages ADD COLUMN route text NOT NULL DEFAULT ''; -- the rule that chose the carrier
ALTER TABLE sms_messages ADD COLUMN valid_until timestamptz; -- nobody tries after this instant

-- Which campaign a reply answers: only messages of campaigns are in here.
CREATE INDEX sms_messages_campaign ON sms_messages (recipient, sender, accepted_at DESC) WHERE tag IS NOT NULL;

ALTER TABLE sms_inbound ADD COLUMN tag text; -- of the message it answers

ALTER TABLE sms_attempts ADD COLUMN unknown boolean NOT NULL DEFAULT false;
ALTER TABLE sms_attempts DROP CONSTRAINT sms_attempts_pkey;
ALTER TABLE sms_attempts ADD PRIMARY KEY (resource_id, message_id, at, carrier);
