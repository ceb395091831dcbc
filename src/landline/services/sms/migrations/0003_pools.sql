-- Whether a message with a timer of its own is in some process's hands (its timer is then a lease).
ALTER TABLE sms_messages ADD COLUMN claimed boolean NOT NULL DEFAULT false;

-- Senders that share a campaign's traffic, and which of them a recipient knows.
CREATE TABLE sms_pools (
    resource_id uuid NOT NULL,
    name text NOT NULL,
    senders text[] NOT NULL,
    sticky boolean NOT NULL,
    PRIMARY KEY (resource_id, name)
);

CREATE TABLE sms_sticky (
    resource_id uuid NOT NULL,
    pool text NOT NULL,
    recipient text NOT NULL,
    sender text NOT NULL,
    PRIMARY KEY (resource_id, pool, recipient)
);
