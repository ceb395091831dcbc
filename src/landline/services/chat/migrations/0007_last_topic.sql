-- The topic that a thread had when somebody was removed from it: it is listed to them as it was then. NULL also where a
-- process of an earlier version removed them. Not in the transaction that makes the index: with the lock of that, this
-- one would be waited for by who has read and is about to write.
ALTER TABLE chat_participants ADD COLUMN last_topic text;

DROP INDEX chat_participants_removed;  -- chat_participants_left begins like it
