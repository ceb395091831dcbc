-- How many connections each account has bound to each process, as that says while its lease runs.
CREATE TABLE smpp_customer_binds (
    system_id text NOT NULL,
    owner uuid NOT NULL,
    binds integer NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (system_id, owner)
);
