-- Routing rules set over the admin API. They are the operator's and belong to no resource; one replaces the rule of the
-- configuration that has its name.
CREATE TABLE sms_routes (
    name text PRIMARY KEY,
    rule jsonb NOT NULL
);

-- How fast a sender may send, where that was set for it.
CREATE TABLE sms_rates (
    resource_id uuid NOT NULL,
    sender text NOT NULL,
    rate_per_s double precision NOT NULL,
    PRIMARY KEY (resource_id, sender)
);
