-- Users that were deleted, until chat has let go of what they left in its threads: at once (looked_at), and once more
-- when nobody can be adding them any more.
CREATE TABLE chat_departures (
    resource_id uuid NOT NULL,
    raw_id text NOT NULL,
    left_at timestamptz NOT NULL,
    looked_at timestamptz,
    PRIMARY KEY (resource_id, raw_id)
);

CREATE INDEX chat_participants_removed ON chat_participants (resource_id, raw_id) WHERE removed_at IS NOT NULL;
