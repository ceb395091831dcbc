-- Threads that somebody was removed from, in the order in which they are listed.
CREATE INDEX chat_participants_left ON chat_participants (resource_id, raw_id, thread_id) WHERE removed_at IS NOT NULL;
