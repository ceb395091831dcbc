-- What a resource sets for its texts itself; what it leaves out comes from the product's defaults.
CREATE TABLE sms_settings (
    resource_id uuid PRIMARY KEY,
    settings jsonb NOT NULL
);

-- How much of a cap is spent or held by processes that will spend it. One row for each resource and period that has one.
CREATE TABLE sms_caps (
    resource_id uuid NOT NULL,
    period text NOT NULL, -- day or month
    unit text NOT NULL, -- messages or segments
    begins_on date NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (resource_id, period, unit, begins_on)
);
