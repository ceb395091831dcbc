-- When a text was last found whole and handed on: one that may be being accepted is not given up.
ALTER TABLE smpp_customer_texts ADD COLUMN whole_at timestamptz;
-- Long texts that came to nothing, until the receipts of their parts are written: what comes next by their references is
-- new from the moment they stand here. `state` is SMPP's message_state, `due_at` when nobody can be accepting it any more.
CREATE TABLE smpp_customer_given_up (
    system_id text NOT NULL,
    message_id uuid NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    state smallint NOT NULL,
    begun_at timestamptz NOT NULL,
    done_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    parts smallint[] NOT NULL,
    PRIMARY KEY (system_id, message_id)
);
