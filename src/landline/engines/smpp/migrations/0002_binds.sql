-- The binds a carrier sold us, as slots that processes lease; `leaving`: its owner is ending the bind for another.
CREATE TABLE smpp_binds (
    carrier text NOT NULL,
    slot smallint NOT NULL,
    owner uuid,
    until timestamptz NOT NULL,
    leaving boolean NOT NULL DEFAULT false,
    PRIMARY KEY (carrier, slot)
);

-- The processes that want a share of a carrier's slots.
CREATE TABLE smpp_sharers (
    carrier text NOT NULL,
    owner uuid NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (carrier, owner)
);
