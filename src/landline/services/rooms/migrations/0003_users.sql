-- By user: one that is deleted is invited nowhere any more.
CREATE INDEX rooms_participant_user ON rooms_participant (resource_id, user_id);
