//! The migrations of the three databases describe the same tables, columns, keys and indexes.

use std::collections::BTreeSet;
use std::path::Path;

/// What the migrations of a database make, a line each, without the types.
fn schema(database: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(database);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut schema = BTreeSet::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        schema.insert(format!("file {name}"));
        let mut table = String::new();
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            if let Some(name) = line.strip_prefix("CREATE TABLE ") {
                name.trim_end_matches(" (").clone_into(&mut table);
                schema.insert(format!("table {table}"));
            } else if let Some(part) = line.strip_prefix("    ").filter(|part| !part.starts_with("--")) {
                schema.insert(format!("{table}: {}", without_type(part)));
            } else if line.starts_with("CREATE ") {
                // How much of a column is indexed, and by which method, is the database's own affair.
                let index = line.replace(" USING HASH", "").replace("(191)", "");
                schema.insert(index);
            } else if line.starts_with("ALTER ") || line.starts_with("INSERT ") {
                schema.insert(line.to_owned());
            }
        }
    }
    schema
}

/// A column without its type, or a key as it is.
fn without_type(part: &str) -> String {
    let part = part.trim_end_matches(',');
    if part.starts_with("PRIMARY KEY") || part.starts_with("UNIQUE") {
        return part.to_owned();
    }
    let (column, rest) = part.split_once(' ').unwrap();
    if rest.contains("AUTOINCREMENT") || rest.contains("AUTO_INCREMENT") || rest.contains("AS IDENTITY") {
        return format!("{column} is numbered");
    }
    let constraints = ["NOT NULL", "UNIQUE", "REFERENCES", "PRIMARY KEY"];
    let start = constraints
        .iter()
        .filter_map(|constraint| rest.find(constraint))
        .min();
    format!("{column} {}", start.map_or("", |start| &rest[start..]))
}

#[test]
fn all_databases_have_the_same_schema() {
    let sqlite = schema("sqlite");
    assert!(
        sqlite.contains("computers: hostname_key NOT NULL UNIQUE"),
        "{sqlite:#?}"
    );
    for other in ["postgres", "mariadb"] {
        let other = schema(other);
        let differences: Vec<_> = sqlite.symmetric_difference(&other).collect();
        assert_eq!(differences, Vec::<&String>::new());
    }
}
