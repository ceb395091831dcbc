-- Until when a text that came to another process is the one that this row stands for, where its SMSC was answered so late
-- that it may have brought it there before. (One that was answered in time has its row deleted at once.)
ALTER TABLE smpp_arrivals ADD COLUMN settled_at timestamptz;
