-- Outgoing messages. Rows are inserted once and updated once, when they end; that update must stay HOT, so nothing
-- it changes is indexed, and pages keep room for it. Work to do is tracked by block, not by row (docs/design/blocks.md).
CREATE TABLE sms_messages (
    resource_id uuid NOT NULL,
    message_id uuid NOT NULL,
    block_id uuid NOT NULL,
    accepted_at timestamptz NOT NULL,
    report_by timestamptz NOT NULL,
    ended_at timestamptz,
    due_at timestamptz, -- set only for a message that left its block: when it is to be tried again or given up
    repeatability_id uuid,
    code integer,
    segments smallint NOT NULL,
    segments_delivered smallint,
    attempts smallint NOT NULL DEFAULT 0,
    state smallint NOT NULL,
    report_wanted boolean NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    carrier text NOT NULL,
    tag text,
    body text NOT NULL,
    PRIMARY KEY (resource_id, message_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE UNIQUE INDEX sms_messages_repeatability ON sms_messages (resource_id, repeatability_id)
    WHERE repeatability_id IS NOT NULL;
CREATE INDEX sms_messages_block ON sms_messages (block_id);
CREATE INDEX sms_messages_due ON sms_messages (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE sms_blocks (
    block_id uuid PRIMARY KEY,
    owner uuid,
    due_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX sms_blocks_due ON sms_blocks (due_at);

-- A message that a carrier took, by the carrier's id, which its receipts will name.
CREATE TABLE sms_submissions (
    resource_id uuid NOT NULL,
    message_id uuid NOT NULL,
    block_id uuid NOT NULL,
    submitted_at timestamptz NOT NULL,
    carrier text NOT NULL,
    carrier_message_id text NOT NULL,
    PRIMARY KEY (carrier, carrier_message_id)
);
CREATE INDEX sms_submissions_block ON sms_submissions (block_id);

-- Tries that a carrier refused, for the timeline.
CREATE TABLE sms_attempts (
    resource_id uuid NOT NULL,
    message_id uuid NOT NULL,
    at timestamptz NOT NULL,
    carrier text NOT NULL,
    code integer NOT NULL,
    temporary boolean NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (resource_id, message_id, at)
);

-- Receipts that came before the carrier's answer to their submission was stored.
CREATE TABLE sms_parked_receipts (
    carrier text NOT NULL,
    carrier_message_id text NOT NULL,
    parked_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    state smallint NOT NULL,
    code integer NOT NULL,
    segments_delivered smallint,
    PRIMARY KEY (carrier, carrier_message_id)
);

CREATE TABLE sms_inbound (
    resource_id uuid NOT NULL,
    message_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    segments smallint NOT NULL,
    carrier text NOT NULL,
    carrier_key text NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    keyword text,
    body text NOT NULL,
    PRIMARY KEY (resource_id, message_id),
    UNIQUE (carrier, carrier_key)
);

CREATE TABLE sms_optouts (
    resource_id uuid NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    at timestamptz NOT NULL,
    origin text NOT NULL, -- keyword or api
    PRIMARY KEY (resource_id, sender, recipient)
);

-- Keywords and replies of a number that is not served in plain English.
CREATE TABLE sms_keywords (
    resource_id uuid NOT NULL,
    number text NOT NULL,
    languages jsonb NOT NULL,
    PRIMARY KEY (resource_id, number)
);
