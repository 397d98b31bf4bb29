-- The same tables and columns as for SQLite, in MariaDB's types: texts compare by their bytes, spaces at the end included,
-- and what is a key has a length. A name in lower case has at most twice the 200 characters of the name.

-- Times are microseconds of UNIX time, flags are 0 or 1, digests are the first bytes of a SHA-256 as an integer or blob.

CREATE TABLE settings (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- People who use the client API.
CREATE TABLE users (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name TEXT NOT NULL,
    -- Lower-case name.
    name_key VARCHAR(400) NOT NULL UNIQUE,
    -- Argon2id in PHC form.
    password_hash TEXT NOT NULL,
    -- administrator, operator or viewer
    user_role TEXT NOT NULL,
    created_at BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE computer_groups (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    parent_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    name TEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The groups that a user is limited to; none: no limit.
CREATE TABLE user_limits (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE computers (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    hostname TEXT NOT NULL,
    -- Lower-case host name: host names compare case-insensitively, whatever the collation.
    hostname_key VARCHAR(400) NOT NULL UNIQUE,
    uid TEXT,
    uid_key VARCHAR(400) UNIQUE,
    agent_key TEXT,
    server_key TEXT,
    agent_version TEXT,
    notes LONGTEXT NOT NULL,
    force_update BIGINT NOT NULL,
    -- Where its last hello came from.
    remote_address TEXT,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE computer_group_members (
    group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, computer_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX computer_group_members_computer ON computer_group_members (computer_id);

-- The hot row of a computer, written at every hello: small and of constant size.
CREATE TABLE check_ins (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    agent_timestamp BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    uptime DOUBLE PRECISION,
    battery_level DOUBLE PRECISION,
    battery_status BIGINT
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Written at every inventory update; what does not change from one to the next is in the tables below.
CREATE TABLE inventories (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    updated_at BIGINT NOT NULL,
    os TEXT,
    os_version TEXT,
    architecture TEXT,
    last_login VARCHAR(19),
    -- Fields that differ every time, as a JSON object.
    volatile LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE inventory_sections (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    section BIGINT NOT NULL,
    digest BIGINT NOT NULL,
    content LONGTEXT NOT NULL,
    PRIMARY KEY (computer_id, section)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE software (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    digest BINARY(16) NOT NULL UNIQUE,
    name LONGTEXT NOT NULL,
    version LONGTEXT NOT NULL,
    description LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX software_name ON software (name(191));

-- The software of one computer in one row: sorted ids of the table above, as differences in variable-length integers.
CREATE TABLE computer_software (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    digest BIGINT NOT NULL,
    ids LONGBLOB NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE logins (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    logged_in_at VARCHAR(19) NOT NULL,
    username VARCHAR(255) NOT NULL,
    console VARCHAR(255) NOT NULL,
    display_name LONGTEXT NOT NULL,
    guid TEXT,
    PRIMARY KEY (computer_id, logged_in_at, username, console)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE package_families (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) NOT NULL UNIQUE,
    notes LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE packages (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    family_id BIGINT NOT NULL REFERENCES package_families (id),
    version VARCHAR(255) NOT NULL,
    notes LONGTEXT NOT NULL,
    license_count BIGINT,
    install_procedure LONGTEXT NOT NULL,
    -- Comma-separated; empty: every code is a success.
    success_codes TEXT NOT NULL,
    -- 0 nothing, 1 restart, 2 shutdown, 3 the agent exits
    post_action BIGINT NOT NULL,
    -- What an installation does with other versions: 0 keeps them, 1 removes them itself, 2 has jobs uninstall them
    upgrade_behavior BIGINT NOT NULL,
    uninstall_procedure LONGTEXT NOT NULL,
    uninstall_success_codes TEXT NOT NULL,
    download_for_uninstall BIGINT NOT NULL,
    uninstall_post_action BIGINT NOT NULL,
    -- Empty: any.
    compatible_os TEXT NOT NULL,
    compatible_os_version TEXT NOT NULL,
    compatible_architecture TEXT NOT NULL,
    line_endings TEXT,
    archive_size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL,
    UNIQUE (family_id, version)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE package_groups (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    parent_id BIGINT REFERENCES package_groups (id) ON DELETE CASCADE,
    name TEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE package_group_members (
    group_id BIGINT NOT NULL REFERENCES package_groups (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    -- The order of installation, from 1.
    position BIGINT NOT NULL,
    PRIMARY KEY (group_id, package_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What a computer has of the packages, by the jobs that succeeded.
CREATE TABLE installations (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    run_procedure LONGTEXT NOT NULL,
    installed_at BIGINT NOT NULL,
    installed_by BIGINT REFERENCES users (id) ON DELETE SET NULL,
    UNIQUE (computer_id, package_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX installations_package ON installations (package_id);

CREATE TABLE package_archives (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    content LONGBLOB NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE job_containers (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name TEXT NOT NULL,
    priority BIGINT NOT NULL,
    -- 0 go on after a failure, 1 fail the rest
    sequence_mode BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    notes LONGTEXT NOT NULL,
    -- Comma-separated lists, tried in order; none: no limit.
    agent_ip_ranges LONGTEXT,
    time_frames LONGTEXT,
    use_wol BIGINT NOT NULL,
    shutdown_waked BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Has the computers of a group install the packages of another.
CREATE TABLE deployment_rules (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name TEXT NOT NULL,
    notes LONGTEXT NOT NULL,
    enabled BIGINT NOT NULL,
    computer_group_id BIGINT NOT NULL REFERENCES computer_groups (id) ON DELETE CASCADE,
    package_group_id BIGINT NOT NULL REFERENCES package_groups (id) ON DELETE CASCADE,
    priority BIGINT NOT NULL,
    sequence_mode BIGINT NOT NULL,
    -- Minutes until a post action.
    post_action_delay BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by BIGINT REFERENCES users (id) ON DELETE SET NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE jobs (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    -- It belongs to a container or to a rule.
    container_id BIGINT REFERENCES job_containers (id) ON DELETE CASCADE,
    rule_id BIGINT REFERENCES deployment_rules (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    -- Copied from the package when the job is made: a later change of the package leaves it alone.
    run_procedure LONGTEXT NOT NULL,
    success_codes TEXT NOT NULL,
    upgrade_behavior BIGINT NOT NULL,
    is_uninstall BIGINT NOT NULL,
    download BIGINT NOT NULL,
    post_action BIGINT NOT NULL,
    -- Minutes until the post action.
    post_action_delay BIGINT NOT NULL,
    -- 0 pending, 1 downloading, 2 executing, 3 succeeded, -1 failed, -2 expired, -3 incompatible, -5 already installed
    state BIGINT NOT NULL,
    return_code BIGINT,
    output LONGTEXT NOT NULL,
    progress DOUBLE PRECISION,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    download_started_at BIGINT,
    execution_started_at BIGINT,
    finished_at BIGINT
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX jobs_computer ON jobs (computer_id, state);
CREATE INDEX jobs_container ON jobs (container_id, state);
CREATE INDEX jobs_rule ON jobs (rule_id, computer_id);
CREATE INDEX jobs_package ON jobs (package_id);

CREATE TABLE event_rules (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    log TEXT NOT NULL,
    query LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE events (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    -- Of all fields: an event reported twice is stored once.
    digest BINARY(16) NOT NULL,
    log TEXT NOT NULL,
    provider TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    level TEXT NOT NULL,
    happened_at VARCHAR(19) NOT NULL,
    data LONGTEXT NOT NULL,
    UNIQUE (computer_id, digest)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE password_rules (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    -- None: for all computers.
    computer_group_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    username VARCHAR(255) NOT NULL,
    alphabet LONGTEXT NOT NULL,
    length BIGINT NOT NULL,
    -- Seconds after which a password is rotated.
    valid_for BIGINT NOT NULL,
    -- Passwords that are kept beside the current one; none: all.
    history BIGINT
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE passwords (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    username VARCHAR(255) NOT NULL,
    password LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX passwords_account ON passwords (computer_id, username, created_at);

CREATE TABLE policies (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    -- None: for all computers.
    computer_group_id BIGINT REFERENCES computer_groups (id) ON DELETE CASCADE,
    -- machine, * (every user with a GUID), or the GUID of a user
    policy_scope TEXT NOT NULL,
    -- Key and value (JSON) as they are sent to agents.
    name LONGTEXT NOT NULL,
    value LONGTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
