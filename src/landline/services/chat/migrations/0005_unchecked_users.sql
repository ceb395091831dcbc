-- Users were once deleted without a word to chat, so all that are or were in threads are looked for, once (departures).
CREATE TABLE chat_unchecked_users (
    resource_id uuid NOT NULL,
    raw_id text NOT NULL,
    PRIMARY KEY (resource_id, raw_id)
);

INSERT INTO chat_unchecked_users (resource_id, raw_id) SELECT DISTINCT resource_id, raw_id FROM chat_participants;
