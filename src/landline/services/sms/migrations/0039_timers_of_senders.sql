-- The timers of each sender by themselves: while very many of one sender's are due, others' are found without looking
-- through them (services/sms/records_deferred.py).
CREATE INDEX sms_messages_due_of_sender ON sms_messages (carrier, resource_id, sender, due_at)
    WHERE due_at IS NOT NULL AND claim_id IS NULL;
