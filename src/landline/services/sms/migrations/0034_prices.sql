-- What carriers charge for a segment to numbers that begin with the prefix, in millionths of the deployment's currency.
-- The prefix + alone is the carrier's price for all others. They are the operator's and belong to no resource.
CREATE TABLE sms_prices (
    carrier text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    price bigint NOT NULL,
    PRIMARY KEY (carrier, prefix)
);
