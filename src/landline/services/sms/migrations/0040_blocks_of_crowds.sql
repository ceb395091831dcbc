-- The blocks of each crowd by themselves, and those of none: while very many wait of one, others' are found without
-- looking through them (store/blocks.py).
CREATE INDEX sms_blocks_crowd ON sms_blocks (crowd, due_at) WHERE crowd IS NOT NULL;
CREATE INDEX sms_blocks_end ON sms_blocks (greatest(due_at, ends_at)) WHERE crowd IS NOT NULL;
CREATE INDEX sms_blocks_due_of_none ON sms_blocks (due_at) WHERE crowd IS NULL;
