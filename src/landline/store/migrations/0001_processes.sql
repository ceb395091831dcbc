-- The processes of this product on this database, each kept by its own heartbeat.
CREATE TABLE store_processes (
    owner uuid PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    serves text[] NOT NULL
);
