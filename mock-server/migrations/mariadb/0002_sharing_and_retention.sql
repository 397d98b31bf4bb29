-- What several processes that share a database need to know of each other; one that has it for itself leaves it alone.

-- The timestamp of the last answer to a computer.
ALTER TABLE check_ins ADD COLUMN answered_at BIGINT NOT NULL DEFAULT 0;

-- One row: its number grows with every change of what processes keep in memory (rules, settings, users, groups).
CREATE TABLE revisions (
    id BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO revisions (id, number) VALUES (1, 0);

-- A rule has one job for a package on a computer, whoever makes it.
CREATE UNIQUE INDEX jobs_rule_package ON jobs (rule_id, computer_id, package_id);

-- What is too old is found by its age.
CREATE INDEX events_happened ON events (happened_at);
CREATE INDEX logins_logged_in ON logins (logged_in_at);
