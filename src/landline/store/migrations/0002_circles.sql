-- Processes of the same circle hear of one another what is told at once, as live events of chat. NULL says nothing about
-- it: a process that takes no requests, or one of an earlier version.
ALTER TABLE store_processes ADD COLUMN circle text;
