-- The thread's last message when a message was last edited: whoever was removed before that edit is not shown what it says.
-- NULL also where the edit was made before there was this column.
ALTER TABLE chat_messages ADD COLUMN changed_after bigint;
