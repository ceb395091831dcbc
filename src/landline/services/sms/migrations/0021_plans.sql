-- The messages of a commit end in a few commits too: only half of a page's rows being new leaves room for all its updates
-- to stay HOT.
ALTER TABLE sms_messages SET (fillfactor = 50);

-- What became of one message of a block is looked up without reading the rest of the block.
CREATE INDEX sms_submissions_message ON sms_submissions (block_id, message_id);
DROP INDEX sms_submissions_block;
