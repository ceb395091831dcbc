-- Whose messages these are, where so many wait that they were left here, so that they are not taken up before others can
-- be (services/sms/model/crowds.py). NULL: anybody's. They are taken up all the same when the first of them ends.
ALTER TABLE sms_blocks ADD COLUMN crowd text, ADD COLUMN ends_at timestamptz;
