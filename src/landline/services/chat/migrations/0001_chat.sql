-- One row for each thread. Its lock is what gives the thread's messages their order: whoever writes a message takes the
-- next sequence under it and holds it until the commit, so that no message becomes visible before an earlier one.
-- The columns that every message changes are in no index, and pages are filled by half, so these updates stay in place.
--   deleted     deleted_at set; a worker takes its messages and participants away, then sets purged_at
CREATE TABLE chat_threads (
    resource_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    topic text NOT NULL,
    metadata text NOT NULL,
    retention_days integer,
    version bigint NOT NULL,
    sequence bigint NOT NULL,
    last_message_id bigint NOT NULL,
    last_message_at timestamptz,
    roster_version bigint NOT NULL,
    delete_at timestamptz,
    deleted_at timestamptz,
    deleted_by text,
    purged_at timestamptz,
    PRIMARY KEY (resource_id, thread_id)
) WITH (fillfactor = 50);

CREATE INDEX chat_threads_due ON chat_threads (delete_at) WHERE delete_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX chat_threads_deleted ON chat_threads (deleted_at) WHERE deleted_at IS NOT NULL;

-- Whoever is or was in a thread. removed_at: no more; visible_until is then the last message that may still be read.
CREATE TABLE chat_participants (
    resource_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    raw_id text NOT NULL,
    display_name text,
    share_history_from timestamptz NOT NULL,
    metadata text NOT NULL,
    added_at timestamptz NOT NULL,
    removed_at timestamptz,
    visible_until bigint,
    read_message_id bigint,
    read_at timestamptz,
    PRIMARY KEY (resource_id, thread_id, raw_id)
) WITH (fillfactor = 70);

CREATE INDEX chat_participants_user ON chat_participants (resource_id, raw_id, thread_id) WHERE removed_at IS NULL;

-- message_id is the millisecond a message arrived in, or the one after the message before it: in a thread it grows with
-- sequence, so one index serves for finding a message and for reading a thread in its order.
CREATE TABLE chat_messages (
    resource_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    message_id bigint NOT NULL,
    sequence bigint NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    kind text NOT NULL,
    sender text NOT NULL,
    sender_display_name text,
    content text,
    metadata text,
    attachments text,
    participants text,
    PRIMARY KEY (resource_id, thread_id, message_id)
);

-- Creations that may be asked for again, with what was answered.
CREATE TABLE chat_creations (
    resource_id uuid NOT NULL,
    raw_id text NOT NULL,
    repeatability_id text NOT NULL,
    digest bytea NOT NULL,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, raw_id, repeatability_id)
);

CREATE INDEX chat_creations_age ON chat_creations (created_at);
