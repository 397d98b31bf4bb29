-- Times are microseconds of UNIX time, flags are 0 or 1, digests are the first bytes of a SHA-256 as an integer or blob.

CREATE TABLE settings (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- People who use the client API.
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL,
    -- Lower-case name.
    name_key VARCHAR(800) NOT NULL UNIQUE,
    -- Argon2id in PHC form.
    password_hash VARCHAR(255) NOT NULL,
    -- administrator, operator or viewer
    user_role VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE computer_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL
);

-- The groups that a user is limited to; none: no limit.
CREATE TABLE user_limits (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_id)
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
    -- Where its last hello came from.
    remote_address VARCHAR(64),
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
);

CREATE TABLE computer_group_members (
    group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, computer_id)
);
CREATE INDEX computer_group_members_computer ON computer_group_members (computer_id);

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
    architecture VARCHAR(200),
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

CREATE TABLE package_families (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL UNIQUE,
    notes TEXT NOT NULL
);

CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    family_id BIGINT NOT NULL REFERENCES package_families (id),
    version VARCHAR(255) NOT NULL,
    notes TEXT NOT NULL,
    license_count BIGINT,
    install_procedure TEXT NOT NULL,
    -- Comma-separated; empty: every code is a success.
    success_codes VARCHAR(255) NOT NULL,
    -- 0 nothing, 1 restart, 2 shutdown, 3 the agent exits
    post_action SMALLINT NOT NULL,
    -- What an installation does with other versions: 0 keeps them, 1 removes them itself, 2 has jobs uninstall them
    upgrade_behavior SMALLINT NOT NULL,
    uninstall_procedure TEXT NOT NULL,
    uninstall_success_codes VARCHAR(255) NOT NULL,
    download_for_uninstall SMALLINT NOT NULL,
    uninstall_post_action SMALLINT NOT NULL,
    -- Empty: any.
    compatible_os VARCHAR(200) NOT NULL,
    compatible_os_version VARCHAR(200) NOT NULL,
    compatible_architecture VARCHAR(200) NOT NULL,
    line_endings VARCHAR(32),
    archive_size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL,
    UNIQUE (family_id, version)
);

CREATE TABLE package_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent_id BIGINT REFERENCES package_groups (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL
);

CREATE TABLE package_group_members (
    group_id BIGINT NOT NULL REFERENCES package_groups (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    -- The order of installation, from 1.
    position BIGINT NOT NULL,
    PRIMARY KEY (group_id, package_id)
);

-- What a computer has of the packages, by the jobs that succeeded.
CREATE TABLE installations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    run_procedure TEXT NOT NULL,
    installed_at BIGINT NOT NULL,
    installed_by BIGINT REFERENCES users (id) ON DELETE SET NULL,
    UNIQUE (computer_id, package_id)
);
CREATE INDEX installations_package ON installations (package_id);

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
    notes TEXT NOT NULL,
    -- Comma-separated lists, tried in order; none: no limit.
    agent_ip_ranges TEXT,
    time_frames TEXT,
    use_wol SMALLINT NOT NULL,
    shutdown_waked SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
);

-- Has the computers of a group install the packages of another.
CREATE TABLE deployment_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL,
    notes TEXT NOT NULL,
    enabled SMALLINT NOT NULL,
    computer_group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    package_group_id BIGINT NOT NULL REFERENCES package_groups (id) ON DELETE CASCADE,
    priority BIGINT NOT NULL,
    sequence_mode SMALLINT NOT NULL,
    -- Minutes until a post action.
    post_action_delay BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- It belongs to a container or to a rule.
    container_id BIGINT REFERENCES job_containers (id) ON DELETE CASCADE,
    rule_id BIGINT REFERENCES deployment_rules (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    -- Copied from the package when the job is made: a later change of the package leaves it alone.
    run_procedure TEXT NOT NULL,
    success_codes VARCHAR(255) NOT NULL,
    upgrade_behavior SMALLINT NOT NULL,
    is_uninstall SMALLINT NOT NULL,
    download SMALLINT NOT NULL,
    post_action SMALLINT NOT NULL,
    -- Minutes until the post action.
    post_action_delay BIGINT NOT NULL,
    -- 0 pending, 1 downloading, 2 executing, 3 succeeded, -1 failed, -2 expired, -3 incompatible, -5 already installed
    state SMALLINT NOT NULL,
    return_code BIGINT,
    output TEXT NOT NULL,
    progress DOUBLE PRECISION,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    download_started_at BIGINT,
    execution_started_at BIGINT,
    finished_at BIGINT
);
CREATE INDEX jobs_computer ON jobs (computer_id, state);
CREATE INDEX jobs_container ON jobs (container_id, state);
CREATE INDEX jobs_rule ON jobs (rule_id, computer_id);
CREATE INDEX jobs_package ON jobs (package_id);

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
    -- None: for all computers.
    computer_group_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    username VARCHAR(255) NOT NULL,
    alphabet TEXT NOT NULL,
    length BIGINT NOT NULL,
    -- Seconds after which a password is rotated.
    valid_for BIGINT NOT NULL,
    -- Passwords that are kept beside the current one; none: all.
    history BIGINT
);

CREATE TABLE passwords (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    username VARCHAR(255) NOT NULL,
    password TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX passwords_account ON passwords (computer_id, username, created_at);

CREATE TABLE policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- None: for all computers.
    computer_group_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    -- machine, * (every user with a GUID), or the GUID of a user
    policy_scope VARCHAR(64) NOT NULL,
    -- Key and value (JSON) as they are sent to agents.
    name TEXT NOT NULL,
    value TEXT NOT NULL
);
