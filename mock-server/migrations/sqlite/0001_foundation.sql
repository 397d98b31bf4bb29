-- Times are microseconds of UNIX time, flags are 0 or 1, digests are the first bytes of a SHA-256 as an integer or blob.

CREATE TABLE settings (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE computers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hostname VARCHAR(200) NOT NULL,
    -- Lower-case host name: host names compare case-insensitively, whatever the collation.
    hostname_key VARCHAR(800) NOT NULL UNIQUE,
    uid VARCHAR(200),
    uid_key VARCHAR(800) UNIQUE,
    agent_key VARCHAR(200),
    server_key VARCHAR(200),
    agent_version VARCHAR(64),
    notes TEXT NOT NULL,
    force_update SMALLINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The hot row of a computer, written at every hello: small and of constant size.
CREATE TABLE check_ins (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    agent_timestamp BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    uptime DOUBLE PRECISION,
    battery_level DOUBLE PRECISION,
    battery_status SMALLINT
);

-- Written at every inventory update; what does not change from one to the next is in the tables below.
CREATE TABLE inventories (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    updated_at BIGINT NOT NULL,
    os VARCHAR(200),
    os_version VARCHAR(200),
    last_login VARCHAR(19),
    -- Fields that differ every time, as a JSON object.
    volatile TEXT NOT NULL
);

CREATE TABLE inventory_sections (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    section SMALLINT NOT NULL,
    digest BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (computer_id, section)
);

CREATE TABLE software (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX software_name ON software (name);

-- The software of one computer in one row: sorted ids of the table above, as differences in variable-length integers.
CREATE TABLE computer_software (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    digest BIGINT NOT NULL,
    ids BLOB NOT NULL
);

CREATE TABLE logins (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    logged_in_at VARCHAR(19) NOT NULL,
    username VARCHAR(255) NOT NULL,
    console VARCHAR(255) NOT NULL,
    display_name TEXT NOT NULL,
    guid VARCHAR(64),
    PRIMARY KEY (computer_id, logged_in_at, username, console)
);

CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL,
    version VARCHAR(255) NOT NULL,
    install_procedure TEXT NOT NULL,
    success_codes VARCHAR(255) NOT NULL,
    -- 0 nothing, 1 restart, 2 shutdown, 3 the agent exits
    post_action SMALLINT NOT NULL,
    archive_size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (name, version)
);

CREATE TABLE package_archives (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    content BLOB NOT NULL
);

CREATE TABLE job_containers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL,
    priority BIGINT NOT NULL,
    -- 0 go on after a failure, 1 fail the rest
    sequence_mode SMALLINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    container_id BIGINT NOT NULL REFERENCES job_containers (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    position BIGINT NOT NULL,
    -- Copied from the package when the job is made: a later change of the package leaves it alone.
    run_procedure TEXT NOT NULL,
    success_codes VARCHAR(255) NOT NULL,
    download SMALLINT NOT NULL,
    post_action SMALLINT NOT NULL,
    -- Minutes until the post action.
    post_action_delay BIGINT NOT NULL,
    -- 0 pending, 1 downloading, 2 executing, 3 succeeded, -1 failed
    state SMALLINT NOT NULL,
    return_code BIGINT,
    output TEXT NOT NULL,
    progress DOUBLE PRECISION,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX jobs_computer ON jobs (computer_id, state);
CREATE INDEX jobs_container ON jobs (container_id, state);

CREATE TABLE event_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    log VARCHAR(255) NOT NULL,
    query TEXT NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    -- Of all fields: an event reported twice is stored once.
    digest BLOB NOT NULL,
    log VARCHAR(255) NOT NULL,
    provider VARCHAR(255) NOT NULL,
    event_id BIGINT NOT NULL,
    level VARCHAR(32) NOT NULL,
    happened_at VARCHAR(19) NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (computer_id, digest)
);

CREATE TABLE password_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username VARCHAR(255) NOT NULL UNIQUE,
    alphabet TEXT NOT NULL,
    length BIGINT NOT NULL,
    -- Seconds after which a password is rotated.
    valid_for BIGINT NOT NULL
);

CREATE TABLE passwords (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    username VARCHAR(255) NOT NULL,
    password TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX passwords_account ON passwords (computer_id, username, created_at);
