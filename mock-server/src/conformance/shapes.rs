//! What requests look like: one table a method, which [`super::walk`] compares a body with.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// Whether null stands for "unknown".
    pub(super) null: bool,
    /// Whether false stands for "there is none".
    pub(super) or_false: bool,
    /// What the value is kept for.
    pub(super) kept: Option<Kept>,
}

/// Types of values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Any,
    Flag,
    /// Of at most so many characters.
    Text(usize, Format),
    Integer(i64, i64),
    Number(f64, f64),
    /// An integer or a text of at most so many characters.
    Id(usize),
    /// A number or a text that is one.
    Timestamp,
    /// Of at most so many items.
    List(usize, &'static Shape),
    Object(&'static [Field]),
    /// An object with any members.
    Map,
    /// As encrypted passwords are; a text is a password in the clear.
    Secret(&'static Shape),
}

/// Formats of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Any,
    NotEmpty,
    /// `YYYY-MM-DD HH:MM:SS`.
    Date,
    /// An IP address or `-`.
    Address,
    /// Six pairs of hexadecimal digits, or more for other kinds of networks, or `-`.
    Mac,
    /// The state of a local check of CheckMK: decimal digits, or `P` where its metrics say it.
    CheckState,
    Base64,
    /// `2.0`.
    JsonRpc,
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// Values that rules of more than one exchange need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Timestamp,
    JobId,
    JobState,
    ReturnCode,
    Package,
}

/// Longest host name and uid, characters.
const NAME: usize = 200;
const SHORT: usize = 255;
/// Longest other text of an inventory, characters.
const LONG: usize = 65_536;
/// Longest output of a job, characters; ours cuts it at a megabyte by default.
const OUTPUT: usize = 16 << 20;
/// Most events of a query and most items of other lists that servers take.
const ITEMS: usize = 10_000;
/// Most pieces of software, devices and the like.
const PARTS: usize = 100_000;
const MAX: i64 = i64::MAX;

const fn shape(kind: Kind) -> Shape {
    Shape {
        kind,
        null: false,
        or_false: false,
        kept: None,
    }
}

impl Shape {
    const fn or_null(self) -> Self {
        Self { null: true, ..self }
    }

    const fn or_false(self) -> Self {
        Self {
            or_false: true,
            ..self
        }
    }

    const fn kept(self, kept: Kept) -> Self {
        Self {
            kept: Some(kept),
            ..self
        }
    }
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        required: true,
        shape,
    }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        required: false,
        shape,
    }
}

const ANY: Shape = shape(Kind::Any);
const FLAG: Shape = shape(Kind::Flag);
const TEXT: Shape = shape(Kind::Text(LONG, Format::Any));
const WORD: Shape = shape(Kind::Text(SHORT, Format::Any));
const NOT_EMPTY: Shape = shape(Kind::Text(SHORT, Format::NotEmpty));
const DATE: Shape = shape(Kind::Text(19, Format::Date));
const COUNT: Shape = shape(Kind::Integer(0, MAX));
const SECONDS: Shape = shape(Kind::Number(0.0, 1e12));
const BATTERY_LEVEL: Shape = shape(Kind::Number(0.0, 1.0)).or_false();
const BATTERY_STATUS: Shape = shape(Kind::Integer(1, 2)).or_false();

const NETWORK: Shape = shape(Kind::Object(&[
    required("addr", shape(Kind::Text(64, Format::Address))),
    // The existing agent writes netmasks of IPv6 as `ffff:ffff:ffff:ffff::/64`.
    required("netmask", shape(Kind::Text(64, Format::NotEmpty))),
    required("broadcast", shape(Kind::Text(64, Format::Address))),
    required("mac", shape(Kind::Text(64, Format::Mac))),
    required("interface", NOT_EMPTY),
]));
const NETWORKS: Shape = shape(Kind::List(ITEMS, &NETWORK)).or_null();

const SERVICE: Shape = shape(Kind::Object(&[
    required("status", shape(Kind::Text(8, Format::CheckState))),
    required("name", NOT_EMPTY),
    // The existing agent misspells the key; servers read the other.
    optional("merics", TEXT),
    optional("metrics", TEXT),
    required("details", TEXT),
]));

const HELLO: Shape = shape(Kind::Object(&[
    required("agent_version", shape(Kind::Text(64, Format::NotEmpty))),
    required("networks", NETWORKS),
    required("services", shape(Kind::List(ITEMS, &SERVICE)).or_null()),
    // What a computer does not tell may be missing.
    optional("uptime", SECONDS.or_null()),
    optional("battery_level", BATTERY_LEVEL.or_null()),
    optional("battery_status", BATTERY_STATUS.or_null()),
    required("force_update", FLAG),
]));

const SCREEN: Shape = shape(Kind::Object(&[
    required("name", TEXT),
    required("manufacturer", TEXT),
    required("manufactured", TEXT),
    required("resolution", TEXT),
    required("size", TEXT),
    required("type", TEXT),
    required("serialno", TEXT),
    required("technology", TEXT),
]));

const PRINTER: Shape = shape(Kind::Object(&[
    required("name", TEXT),
    required("driver", TEXT),
    required("paper", TEXT),
    required("dpi", TEXT),
    required("uri", TEXT),
    required("status", TEXT),
]));

const PARTITION: Shape = shape(Kind::Object(&[
    required("device", TEXT),
    required("mountpoint", TEXT),
    required("filesystem", TEXT),
    required("size", COUNT),
    required("free", COUNT),
    required("name", TEXT),
    required("uuid", TEXT),
    required("encrypted", FLAG.or_null()),
]));

const SOFTWARE: Shape = shape(Kind::Object(&[
    required("name", shape(Kind::Text(LONG, Format::NotEmpty))),
    required("version", TEXT),
    required("description", TEXT.or_null()),
]));

const LOGIN: Shape = shape(Kind::Object(&[
    required("guid", WORD.or_null()),
    required("display_name", TEXT.or_null()),
    required("username", NOT_EMPTY),
    required("console", WORD.or_null()),
    required("timestamp", DATE),
]));

const USER: Shape = shape(Kind::Object(&[
    required("username", NOT_EMPTY),
    required("display_name", TEXT.or_null()),
    required("uid", shape(Kind::Id(SHORT))),
    required("gid", shape(Kind::Id(SHORT)).or_null()),
    required("home", TEXT.or_null()),
    required("shell", TEXT.or_null()),
    required("disabled", FLAG),
]));

const DEVICE: Shape = shape(Kind::Object(&[
    required("subsystem", WORD),
    required("vendor", COUNT),
    required("product", COUNT),
    required("serial", TEXT.or_null()),
    required("name", TEXT.or_null()),
]));

/// An inventory with partitions and logins of these shapes. Everything in it may be missing.
macro_rules! inventory {
    ($partition:ident, $login:ident) => {
        shape(Kind::Object(&[
            optional("hostname", shape(Kind::Text(NAME, Format::NotEmpty))),
            optional("agent_version", shape(Kind::Text(64, Format::NotEmpty))),
            optional("os", TEXT.or_null()),
            optional("os_version", TEXT.or_null()),
            optional("os_license", TEXT.or_null()),
            optional("os_language", TEXT.or_null()),
            optional("kernel_version", TEXT.or_null()),
            optional("architecture", TEXT.or_null()),
            optional("cpu", TEXT.or_null()),
            optional("ram", COUNT.or_null()),
            optional("gpu", TEXT.or_null()),
            optional("serial", TEXT.or_null()),
            optional("manufacturer", TEXT.or_null()),
            optional("model", TEXT.or_null()),
            optional("bios_version", TEXT.or_null()),
            optional("uptime", SECONDS.or_null()),
            optional("boot_type", WORD.or_null()),
            optional("secure_boot", WORD.or_null()),
            optional("domain", TEXT.or_null()),
            optional("networks", NETWORKS),
            optional("screens", shape(Kind::List(PARTS, &SCREEN)).or_null()),
            optional("printers", shape(Kind::List(PARTS, &PRINTER)).or_null()),
            optional("partitions", shape(Kind::List(PARTS, &$partition)).or_null()),
            optional("software", shape(Kind::List(PARTS, &SOFTWARE)).or_null()),
            optional("logins", shape(Kind::List(ITEMS, &$login)).or_null()),
            optional("users", shape(Kind::List(PARTS, &USER)).or_null()),
            optional("battery_level", BATTERY_LEVEL.or_null()),
            optional("battery_status", BATTERY_STATUS.or_null()),
            optional("devices", shape(Kind::List(PARTS, &DEVICE)).or_null()),
            // Some agents send them here too.
            optional("services", shape(Kind::List(ITEMS, &SERVICE)).or_null()),
        ]))
    };
}

const UPDATE: Shape = inventory!(PARTITION, LOGIN);

const JOB_STATE: Shape = shape(Kind::Object(&[
    required("job-id", shape(Kind::Id(64)).kept(Kept::JobId)),
    required("state", shape(Kind::Integer(-1, 3)).kept(Kept::JobState)),
    required(
        "return-code",
        // Of Windows, unsigned.
        shape(Kind::Integer(i32::MIN as i64, u32::MAX as i64))
            .or_null()
            .kept(Kept::ReturnCode),
    ),
    required("message", shape(Kind::Text(OUTPUT, Format::Any))),
    optional("download-progress", shape(Kind::Number(0.0, 101.0)).or_null()),
]));

/// What servers of 2022 know of jobs: no progress, and no null.
const DEPLOY_STATUS: Shape = shape(Kind::Object(&[
    required("job-id", shape(Kind::Id(64)).kept(Kept::JobId)),
    required("state", shape(Kind::Integer(-1, 3)).kept(Kept::JobState)),
    required(
        "return-code",
        shape(Kind::Integer(i32::MIN as i64, u32::MAX as i64)).kept(Kept::ReturnCode),
    ),
    required("message", shape(Kind::Text(OUTPUT, Format::Any))),
]));

const EVENT: Shape = shape(Kind::Object(&[
    required("log", NOT_EMPTY),
    required("provider", WORD.or_null()),
    required("event_id", shape(Kind::Timestamp)),
    required("level", shape(Kind::Id(32)).or_null()),
    required("timestamp", DATE),
    required("data", shape(Kind::Map)),
]));

const EVENTS: Shape = shape(Kind::Object(&[required(
    "events",
    shape(Kind::List(ITEMS, &EVENT)),
)]));

const ENCRYPTED: Shape = shape(Kind::Object(&[
    required("iv", shape(Kind::Text(64, Format::Base64))),
    required("data", shape(Kind::Text(LONG, Format::Base64))),
]));

const PASSWORD: Shape = shape(Kind::Object(&[
    required("username", NOT_EMPTY),
    required("password", shape(Kind::Secret(&ENCRYPTED))),
    optional("revoke", FLAG),
]));

const PASSWORDS: Shape = shape(Kind::Object(&[required(
    "passwords",
    shape(Kind::List(ITEMS, &PASSWORD)),
)]));

/// A request of the signed generation with this data.
macro_rules! signed {
    ($($data:expr),*) => {
        shape(Kind::Object(&[
            required("jsonrpc", shape(Kind::Text(3, Format::JsonRpc))),
            required("id", ANY),
            required("method", NOT_EMPTY),
            required("params", shape(Kind::Object(&[
                required("uid", shape(Kind::Text(NAME, Format::NotEmpty))),
                required("hostname", shape(Kind::Text(NAME, Format::NotEmpty))),
                optional("timestamp", shape(Kind::Timestamp).kept(Kept::Timestamp)),
                $($data),*
            ]))),
        ]))
    };
}

/// A request of the keyed generation with this data.
macro_rules! keyed {
    ($data:expr) => {
        shape(Kind::Object(&[
            required("jsonrpc", shape(Kind::Text(3, Format::JsonRpc))),
            required("id", ANY),
            required("method", NOT_EMPTY),
            required(
                "params",
                shape(Kind::Object(&[
                    optional("uid", shape(Kind::Text(NAME, Format::NotEmpty))),
                    required("hostname", shape(Kind::Text(NAME, Format::NotEmpty))),
                    required("agent-key", shape(Kind::Text(SHORT, Format::Any))),
                    required("data", $data),
                ])),
            ),
        ]))
    };
}

/// The first keyed agents say less, the last ones the same.
const KEYED_HELLO: Shape = shape(Kind::Object(&[
    required("agent_version", shape(Kind::Text(64, Format::NotEmpty))),
    required("networks", NETWORKS),
    optional("services", shape(Kind::List(ITEMS, &SERVICE)).or_null()),
    optional("uptime", SECONDS.or_null()),
    optional("battery_level", BATTERY_LEVEL.or_null()),
    optional("battery_status", BATTERY_STATUS.or_null()),
    optional("force_update", FLAG),
]));

/// The first keyed agents call the UUID `serial`, and do not look for encryption.
const KEYED_PARTITION: Shape = shape(Kind::Object(&[
    required("device", TEXT),
    required("mountpoint", TEXT),
    required("filesystem", TEXT),
    required("size", COUNT),
    required("free", COUNT),
    required("name", TEXT),
    optional("serial", TEXT.or_null()),
    optional("uuid", TEXT.or_null()),
    optional("encrypted", FLAG.or_null()),
]));

/// The first keyed agents know no GUIDs.
const KEYED_LOGIN: Shape = shape(Kind::Object(&[
    optional("guid", WORD.or_null()),
    required("display_name", TEXT.or_null()),
    required("username", NOT_EMPTY),
    required("console", WORD.or_null()),
    required("timestamp", DATE),
]));

const KEYED_UPDATE: Shape = inventory!(KEYED_PARTITION, KEYED_LOGIN);

const DOWNLOAD: Field = required("package-id", shape(Kind::Id(20)).kept(Kept::Package));

static SIGNED: [(&str, Shape); 6] = [
    ("hello", signed!(required("data", HELLO))),
    ("update", signed!(required("data", UPDATE))),
    ("update_job_state", signed!(required("data", JOB_STATE))),
    ("events", signed!(required("data", EVENTS))),
    ("passwords", signed!(required("data", PASSWORDS))),
    ("download", signed!(DOWNLOAD)),
];

/// Job states are reported by the name of today and in its form, or by that of 2022 and in its form.
static KEYED: [(&str, Shape); 6] = [
    ("hello", keyed!(KEYED_HELLO)),
    ("update", keyed!(KEYED_UPDATE)),
    ("update_deploy_status", keyed!(DEPLOY_STATUS)),
    ("update_job_state", keyed!(JOB_STATE)),
    ("events", keyed!(EVENTS)),
    ("passwords", keyed!(PASSWORDS)),
];

/// The shape of requests of a method.
pub(super) fn of(method: &str, keyed: bool) -> Option<&'static Shape> {
    let table: &[(&str, Shape)] = if keyed { &KEYED } else { &SIGNED };
    table
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, shape)| shape)
}
