-- Parts of long texts from phones: stored before each is acknowledged, and kept a while after the text is whole, so that
-- a part brought again is recognised.
CREATE TABLE smpp_inbound_parts (
    carrier text NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    reference integer NOT NULL,
    total smallint NOT NULL,
    wide boolean NOT NULL,
    sequence smallint NOT NULL,
    data_coding smallint NOT NULL,
    at timestamptz NOT NULL,
    done boolean NOT NULL DEFAULT false,
    octets bytea NOT NULL,
    PRIMARY KEY (carrier, sender, recipient, reference, total, wide, sequence)
);
CREATE INDEX smpp_inbound_parts_at ON smpp_inbound_parts (carrier, at);

-- Texts that arrived lately, by fingerprint: what another process took in just before it died may be brought to us.
CREATE TABLE smpp_arrivals (
    carrier text NOT NULL,
    fingerprint bytea NOT NULL,
    owner uuid NOT NULL,
    at timestamptz NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (carrier, key)
);
CREATE INDEX smpp_arrivals_fingerprint ON smpp_arrivals (carrier, fingerprint);

-- Parts of long messages we sent whose receipts are awaited; `message_id` is the first part's and names the message.
CREATE TABLE smpp_sent_parts (
    carrier text NOT NULL,
    part_id text NOT NULL,
    message_id text NOT NULL,
    total smallint NOT NULL,
    sent_at timestamptz NOT NULL,
    code integer,
    PRIMARY KEY (carrier, part_id)
);
CREATE INDEX smpp_sent_parts_message ON smpp_sent_parts (carrier, message_id);
CREATE INDEX smpp_sent_parts_sent ON smpp_sent_parts (carrier, sent_at);
