-- When a part of a text that is done came once more: brought again, or the like part of a new text that has the same
-- reference.
ALTER TABLE smpp_inbound_parts ADD COLUMN again_at timestamptz;
