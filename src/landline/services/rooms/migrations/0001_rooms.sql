CREATE TABLE rooms_room (
    resource_id uuid NOT NULL,
    room_id text NOT NULL,
    created_at timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    pstn_dial_out_enabled boolean NOT NULL,
    request_id uuid, -- of the request that made it: the same request again makes no second room
    PRIMARY KEY (resource_id, room_id),
    UNIQUE (resource_id, request_id)
);
CREATE INDEX rooms_room_listed ON rooms_room (resource_id, created_at, room_id);
CREATE INDEX rooms_room_ended ON rooms_room (valid_until);

CREATE TABLE rooms_participant (
    resource_id uuid NOT NULL,
    room_id text NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (resource_id, room_id, user_id),
    FOREIGN KEY (resource_id, room_id) REFERENCES rooms_room ON DELETE CASCADE
);
