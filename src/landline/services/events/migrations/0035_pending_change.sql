-- What a subscription that has consented is to become once its new endpoint consents: until then it goes on as it is.
ALTER TABLE events_subscriptions ADD COLUMN pending_settings jsonb, ADD COLUMN pending_secrets bytea;
