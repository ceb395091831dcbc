-- What one commit tells the webhooks, in one row until all of it has come to something; only then has each event a row
-- in events_deliveries. events: MessagePack of (subscription, resource, type, subject, about, event, at, data), which is
-- read after a crash and never else: it is kept as it is, beside the row, so that a renewed lease does not write it anew.
CREATE TABLE events_batches (
    block_id uuid PRIMARY KEY,
    owner uuid,
    due_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    events bytea NOT NULL
);
ALTER TABLE events_batches ALTER COLUMN events SET STORAGE EXTERNAL;
-- What is delivered at once is written once from now on, in a row that stays as it is: pages need no room for updates.
ALTER TABLE events_deliveries SET (fillfactor = 90);
