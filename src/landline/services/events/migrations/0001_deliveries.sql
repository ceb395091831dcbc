CREATE TABLE events_subscriptions (
    resource_id uuid NOT NULL,
    name text NOT NULL,
    subscription_id uuid NOT NULL UNIQUE,
    settings jsonb NOT NULL,
    secrets bytea NOT NULL,
    state text NOT NULL,
    reason text,
    created_at timestamptz NOT NULL,
    validation_token bytea,
    validating_until timestamptz,
    PRIMARY KEY (resource_id, name)
);

CREATE TABLE events_blocks (
    block_id uuid PRIMARY KEY,
    owner uuid,
    due_at timestamptz NOT NULL
);

-- One row for each event and subscription. A delivery that succeeds at once is inserted and updated once, in place:
-- every index is over columns that this update leaves alone, and pages are filled by half, so that the new version of
-- each row fits beside the old one (measured: all updates HOT, and less space in all than at 85, where a fifth are).
--   under way   block_id is the block that is worked off (events_blocks)
--   on the ladder   block_id null, next_at when it is due (a claim moves it ahead: the lease)
--   dead        block_id and next_at null, dead_at and reason set
--   delivered   delivered_at set; block_id (time-ordered) is how old rows are found and pruned
-- about is the message it tells of, or the event's own id.
CREATE TABLE events_deliveries (
    resource_id uuid NOT NULL,
    about uuid NOT NULL,
    event_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    block_id uuid,
    since timestamptz NOT NULL,
    next_at timestamptz,
    delivered_at timestamptz,
    dead_at timestamptz,
    at timestamptz NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    status smallint,
    type text NOT NULL,
    subject text NOT NULL,
    data bytea NOT NULL,
    error text,
    reason text,
    failures jsonb,
    PRIMARY KEY (resource_id, about, event_id, subscription_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);

CREATE INDEX events_deliveries_block ON events_deliveries (block_id);
CREATE INDEX events_deliveries_due ON events_deliveries (resource_id, subscription_id, next_at)
    WHERE next_at IS NOT NULL;
CREATE INDEX events_deliveries_dead ON events_deliveries (resource_id, dead_at, event_id, subscription_id)
    WHERE dead_at IS NOT NULL;
