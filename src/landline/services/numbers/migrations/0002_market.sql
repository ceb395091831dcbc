-- What the public phone numbers API adds to an owned sender. NULL for what an operator gave by hand: the kind decides.
ALTER TABLE numbers_owned
    ADD COLUMN country text,
    ADD COLUMN assignment text,
    ADD COLUMN cost numeric(12, 4),
    ADD COLUMN currency text,
    ADD COLUMN offered_sms text,
    ADD COLUMN offered_calling text;

-- The numbers an operator has for sale, whoever has them now. They belong to no resource until they are bought.
CREATE TABLE numbers_stock (
    number text PRIMARY KEY,
    country text NOT NULL,
    kind text NOT NULL,
    assignments text[] NOT NULL,
    sms_inbound boolean NOT NULL,
    sms_outbound boolean NOT NULL,
    calling_inbound boolean NOT NULL,
    calling_outbound boolean NOT NULL,
    area_code text,
    locality text,
    division text,
    cost numeric(12, 4) NOT NULL,
    currency text NOT NULL,
    not_resell boolean NOT NULL,
    carrier text,
    sold boolean NOT NULL DEFAULT false,
    added_at timestamptz NOT NULL
);

CREATE INDEX numbers_stock_free ON numbers_stock (country, kind, number) WHERE NOT sold;

-- Who has a number to himself: one row a number, so that it can be sold once. A hold ends by itself at expires_at; a
-- sold one stays until the number is released.
CREATE TABLE numbers_holds (
    number text PRIMARY KEY,
    resource_id uuid NOT NULL,
    holder uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    sold boolean NOT NULL DEFAULT false,
    country text NOT NULL,
    kind text NOT NULL,
    assignment text NOT NULL,
    sms text NOT NULL,
    calling text NOT NULL,
    offered_sms text NOT NULL,
    offered_calling text NOT NULL,
    cost numeric(12, 4) NOT NULL,
    currency text NOT NULL,
    not_resell boolean NOT NULL,
    carrier text
);

CREATE INDEX numbers_holds_holder ON numbers_holds (resource_id, holder);
CREATE INDEX numbers_holds_expiry ON numbers_holds (expires_at) WHERE NOT sold;

CREATE TABLE numbers_searches (
    resource_id uuid NOT NULL,
    search_id uuid NOT NULL,
    state text NOT NULL,
    kind text NOT NULL,
    assignment text NOT NULL,
    sms text NOT NULL,
    calling text NOT NULL,
    numbers text[] NOT NULL,
    cost numeric(12, 4) NOT NULL,
    currency text NOT NULL,
    not_resell boolean NOT NULL,
    error text,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, search_id)
);

CREATE INDEX numbers_searches_expiry ON numbers_searches (expires_at);

CREATE TABLE numbers_reservations (
    resource_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, reservation_id)
);

CREATE INDEX numbers_reservations_age ON numbers_reservations (created_at);

-- The numbers of a reservation, kept to be shown when their holds have ended.
CREATE TABLE numbers_reserved (
    resource_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    number text NOT NULL,
    country text NOT NULL,
    kind text NOT NULL,
    assignment text NOT NULL,
    sms text NOT NULL,
    calling text NOT NULL,
    cost numeric(12, 4) NOT NULL,
    currency text NOT NULL,
    not_resell boolean NOT NULL,
    error text,
    PRIMARY KEY (resource_id, reservation_id, number),
    FOREIGN KEY (resource_id, reservation_id) REFERENCES numbers_reservations ON DELETE CASCADE
);

-- Long-running operations as clients poll them; each is written in the transaction that does it, with how it ended.
CREATE TABLE numbers_operations (
    resource_id uuid NOT NULL,
    operation_id text NOT NULL,
    type text NOT NULL,
    location text,
    error_code text,
    error_message text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, operation_id)
);

CREATE INDEX numbers_operations_age ON numbers_operations (created_at);
