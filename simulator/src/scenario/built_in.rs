//! The scenarios that the program brings along.

/// Name and file of each, in the order in which they are listed.
pub(super) const BUILT_IN: [(&str, &str); 10] = [
    ("demo", include_str!("../../scenarios/demo.toml")),
    ("steady-10k", include_str!("../../scenarios/steady-10k.toml")),
    ("steady-100k", include_str!("../../scenarios/steady-100k.toml")),
    ("million", include_str!("../../scenarios/million.toml")),
    ("cold-start", include_str!("../../scenarios/cold-start.toml")),
    (
        "reconnect-storm",
        include_str!("../../scenarios/reconnect-storm.toml"),
    ),
    ("rollout", include_str!("../../scenarios/rollout.toml")),
    ("hostile", include_str!("../../scenarios/hostile.toml")),
    (
        "mixed-generations",
        include_str!("../../scenarios/mixed-generations.toml"),
    ),
    ("soak", include_str!("../../scenarios/soak.toml")),
];

/// Their names, for messages.
pub(super) fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}
