CREATE TABLE resources_resource (
    resource_id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    location text NOT NULL,
    created_at timestamptz NOT NULL
);

-- A resource has one row for each slot; a rotation overwrites the sealed key and counts the generation up.
CREATE TABLE resources_key (
    resource_id uuid NOT NULL REFERENCES resources_resource ON DELETE CASCADE,
    slot text NOT NULL CHECK (slot IN ('primary', 'secondary')),
    generation integer NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, slot)
);
