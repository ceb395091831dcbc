-- The carriers that any process has in its configuration, or had: how what they may have got without an answer is dealt
-- with, which outlives their configuration, and when a process that has them said so last.
CREATE TABLE sms_carriers (
    carrier text PRIMARY KEY,
    crash_policy text NOT NULL,
    seen_at timestamptz NOT NULL
);
