-- Of the body of the request that made it: another one under the same id is no repetition. Unknown for older rooms.
ALTER TABLE rooms_room ADD COLUMN request_digest bytea;
