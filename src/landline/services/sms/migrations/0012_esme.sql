-- Accounts of customers who speak SMPP. A system id is one product-wide, because a bind names nothing else.
CREATE TABLE sms_esme_accounts (
    resource_id uuid NOT NULL,
    system_id text NOT NULL UNIQUE,
    secret bytea NOT NULL, -- the password's scrypt hash, sealed
    generation integer NOT NULL, -- grows with whatever makes existing connections invalid
    enabled boolean NOT NULL,
    addresses text[] NOT NULL,
    binds integer NOT NULL,
    send_window integer NOT NULL,
    rate_per_s double precision,
    receipts boolean NOT NULL,
    texts text[] NOT NULL, -- numbers whose texts it gets; * for all of the resource's
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, system_id)
);

-- Which messages came from an account. Written before the message itself, so that none ends without it.
CREATE TABLE sms_esme_messages (
    resource_id uuid NOT NULL,
    message_id uuid NOT NULL,
    system_id text NOT NULL,
    wish smallint NOT NULL,
    parts smallint[], -- of a text that came in parts: those whose receipts are wanted
    PRIMARY KEY (resource_id, message_id)
);

-- Receipts and texts on their way to customers. `due_at` is when to bring it; for what a process has in hand, when that
-- process is taken for dead.
CREATE TABLE sms_esme_out (
    resource_id uuid NOT NULL,
    system_id text NOT NULL,
    out_id uuid NOT NULL,
    owner uuid,
    due_at timestamptz NOT NULL,
    submitted_at timestamptz, -- null for a text
    done_at timestamptz,
    message_id uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    code integer,
    delivered boolean,
    sender text NOT NULL,
    recipient text NOT NULL,
    body text,
    parts smallint[],
    PRIMARY KEY (resource_id, system_id, out_id),
    FOREIGN KEY (resource_id, system_id) REFERENCES sms_esme_accounts ON DELETE CASCADE
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
