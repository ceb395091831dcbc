-- One document a resource, read and written whole: a patch locks its row, so that no update is lost.
CREATE TABLE siprouting_configuration (
    resource_id uuid PRIMARY KEY,
    document text NOT NULL,
    changed_at timestamptz NOT NULL
);
