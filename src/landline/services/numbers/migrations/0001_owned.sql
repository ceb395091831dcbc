-- The senders each resource owns. A phone number or short code has one owner; a sender name may have several.
CREATE TABLE numbers_owned (
    resource_id uuid NOT NULL,
    number text NOT NULL,
    kind text NOT NULL,
    sms_inbound boolean NOT NULL,
    sms_outbound boolean NOT NULL,
    calling_inbound boolean NOT NULL,
    calling_outbound boolean NOT NULL,
    carrier text,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, number)
);

CREATE UNIQUE INDEX numbers_owned_once ON numbers_owned (number) WHERE kind <> 'alphanumeric';
