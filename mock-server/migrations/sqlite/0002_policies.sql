-- Policies for all computers: key and value (JSON) as they are sent to agents.
CREATE TABLE policies (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
