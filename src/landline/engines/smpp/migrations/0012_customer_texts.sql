-- Long texts that customers submit in parts: which message each becomes, though its parts come over several binds, to
-- several processes, or before and after a restart. `wish` and `parts`: which parts' receipts are wanted.
CREATE TABLE smpp_customer_texts (
    system_id text NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    reference integer NOT NULL,
    total smallint NOT NULL,
    wide boolean NOT NULL,
    message_id uuid NOT NULL,
    begun_at timestamptz NOT NULL,
    done boolean NOT NULL DEFAULT false,
    wish smallint NOT NULL,
    parts smallint[] NOT NULL,
    PRIMARY KEY (system_id, sender, recipient, reference, total, wide)
);
CREATE INDEX smpp_customer_texts_begun ON smpp_customer_texts (begun_at);
