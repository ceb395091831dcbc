-- The simulated carrier: what it took, what it has still to say about it, and how its handsets behave.

-- Places in the order in which messages were taken and shown; an inbox is read on from a place.
CREATE SEQUENCE handset_positions;

CREATE TABLE handset_messages (
    message_key uuid PRIMARY KEY,
    handset text NOT NULL,
    sender text NOT NULL,
    text text NOT NULL,
    segments integer NOT NULL,
    position bigint NOT NULL,
    received_at timestamptz, -- null: not on the handset (out of reach, or never)
    expires_at timestamptz,  -- set while the handset is out of reach: when the carrier gives up
    code integer,            -- of the receipt; null: none comes
    report_at timestamptz NOT NULL
);

CREATE INDEX handset_messages_inbox ON handset_messages (handset, position) WHERE received_at IS NOT NULL;
CREATE INDEX handset_messages_held ON handset_messages (handset) WHERE expires_at IS NOT NULL;
CREATE INDEX handset_messages_age ON handset_messages USING brin (position) WITH (pages_per_range = 32);

-- Receipts not yet reported, those of one batch that are due together in one row.
CREATE TABLE handset_receipts (
    receipt_id bigint PRIMARY KEY,
    due_at timestamptz NOT NULL,
    handset text, -- set while they wait for this handset to come back in reach
    keys uuid[] NOT NULL,
    codes integer[] NOT NULL,
    segments integer[] NOT NULL
);

CREATE INDEX handset_receipts_due ON handset_receipts (due_at);
CREATE INDEX handset_receipts_held ON handset_receipts (handset) WHERE handset IS NOT NULL;

-- Texts that handsets answer of themselves, not yet brought.
CREATE TABLE handset_replies (
    reply_key text PRIMARY KEY,
    due_at timestamptz NOT NULL,
    handset text NOT NULL,
    recipient text NOT NULL,
    text text NOT NULL
);

CREATE INDEX handset_replies_due ON handset_replies (due_at);

CREATE TABLE handset_states (
    handset text PRIMARY KEY,
    conduct text NOT NULL,
    after_s double precision NOT NULL,
    jitter_s double precision NOT NULL,
    code integer NOT NULL,
    point text NOT NULL,
    replies text[] NOT NULL,
    reply_after_s double precision NOT NULL,
    replied bigint NOT NULL
);

CREATE TABLE handset_rules (
    rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number text NOT NULL,
    nth integer,
    every integer,
    fires_limit integer,
    rate double precision,
    code integer, -- null: no receipt ever
    temporary boolean NOT NULL,
    point text NOT NULL,
    after_s double precision NOT NULL,
    jitter_s double precision NOT NULL,
    seen bigint NOT NULL,
    fired bigint NOT NULL
);

CREATE TABLE handset_settings (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seed bigint NOT NULL
);
