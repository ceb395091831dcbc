-- `token_generation` counts revocations: a token is good while it carries the present one.
CREATE TABLE identity_user (
    resource_id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_generation integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_id, user_id)
);

-- The deployment's keys that sign user tokens. The newest signs; one with a successor verifies until `retire_at`.
CREATE TABLE identity_signing_key (
    kid text PRIMARY KEY,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retire_at timestamptz
);
