-- What is counted: one row for each group of messages of one transaction, never updated, taken out by the folder.
-- Hours and days are numbers since 1970 (UTC). cells: measure * 65536 + detail; counts: one for each of them.
CREATE TABLE insights_deltas (
    resource_id uuid NOT NULL,
    hour integer NOT NULL,
    sender text COLLATE "C" NOT NULL,
    tag text COLLATE "C" NOT NULL,
    country text COLLATE "C" NOT NULL,
    carrier text COLLATE "C" NOT NULL,
    cells integer[] NOT NULL,
    counts bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- The same, folded together. Updates stay HOT: nothing they change is indexed, and pages keep room for them.
CREATE TABLE insights_hours (
    resource_id uuid NOT NULL,
    hour integer NOT NULL,
    tag text COLLATE "C" NOT NULL,
    sender text COLLATE "C" NOT NULL,
    country text COLLATE "C" NOT NULL,
    carrier text COLLATE "C" NOT NULL,
    cells integer[] NOT NULL,
    counts bigint[] NOT NULL,
    PRIMARY KEY (resource_id, hour, tag, sender, country, carrier)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX insights_hours_age ON insights_hours (hour);

CREATE TABLE insights_days (
    resource_id uuid NOT NULL,
    day integer NOT NULL,
    tag text COLLATE "C" NOT NULL,
    sender text COLLATE "C" NOT NULL,
    country text COLLATE "C" NOT NULL,
    carrier text COLLATE "C" NOT NULL,
    cells integer[] NOT NULL,
    counts bigint[] NOT NULL,
    PRIMARY KEY (resource_id, day, tag, sender, country, carrier)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX insights_days_age ON insights_days (day);

-- The tags that are counted by name in an hour; what comes when these are as many as allowed is counted as (other).
CREATE TABLE insights_tags (
    resource_id uuid NOT NULL,
    hour integer NOT NULL,
    tag text COLLATE "C" NOT NULL,
    PRIMARY KEY (resource_id, hour, tag)
);
CREATE INDEX insights_tags_age ON insights_tags (hour);
