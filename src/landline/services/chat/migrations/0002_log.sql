-- Every durable change of every thread, in one order that all readers share (docs/design/chat-feed.md). What a message
-- says is not here: it is read from chat_messages, so that what is deleted is gone.
--   position    taken under the thread's lock: within a thread it grows in the order of its commits. Between threads a
--               higher one may commit first; who has taken one and not committed holds an advisory lock that tells so
--   detail      JSON of who and what, for changes of threads and participants
CREATE SEQUENCE chat_log_positions;
SELECT setval('chat_log_positions', 1);  -- from here on last_value was taken by somebody

CREATE TABLE chat_log (
    resource_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    roster_version bigint NOT NULL,
    version bigint NOT NULL,
    message_id bigint,
    detail text,
    PRIMARY KEY (resource_id, thread_id, position)
);

CREATE UNIQUE INDEX chat_log_order ON chat_log (position);

-- Who was in a thread from which change to which, both told to them; until_position NULL: is in it.
CREATE TABLE chat_stays (
    resource_id uuid NOT NULL,
    raw_id text NOT NULL,
    thread_id uuid NOT NULL,
    from_position bigint NOT NULL,
    until_position bigint,
    share_history_from timestamptz NOT NULL,
    PRIMARY KEY (resource_id, raw_id, thread_id, from_position)
);

CREATE INDEX chat_stays_thread ON chat_stays (resource_id, thread_id);

INSERT INTO chat_stays (resource_id, raw_id, thread_id, from_position, until_position, share_history_from)
SELECT p.resource_id, p.raw_id, p.thread_id, 0, NULL, p.share_history_from
FROM chat_participants p JOIN chat_threads t USING (resource_id, thread_id)
WHERE p.removed_at IS NULL AND t.deleted_at IS NULL;

-- One row. epoch: the name of this course of positions, another one when `place` (which database this is) is another.
-- floor: the last position that was taken away.
CREATE TABLE chat_log_state (
    single boolean PRIMARY KEY CHECK (single),
    epoch text NOT NULL,
    place text NOT NULL,
    floor bigint NOT NULL
);
