-- The dead letters of one subscription, the oldest first, without those of others before them.
CREATE INDEX events_deliveries_dead_of ON events_deliveries (resource_id, subscription_id, dead_at, event_id)
    WHERE dead_at IS NOT NULL;
