-- Whether the process that holds the slot can submit over its binds of this carrier, as it says for the others.
ALTER TABLE smpp_binds ADD COLUMN up boolean NOT NULL DEFAULT false;
