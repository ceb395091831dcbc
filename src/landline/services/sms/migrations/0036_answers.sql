-- The carrier that brought the campaign's message which this text answers: insights count the text with that one. NULL
-- where it answers none, and for texts from before this column.
ALTER TABLE sms_inbound ADD COLUMN answers_carrier text;
