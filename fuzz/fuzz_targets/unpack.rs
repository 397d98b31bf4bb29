//! Packages: what is unpacked stays below its folder and within its limits, and an honest archive arrives as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::fuzzing::unpack;
use oco_agent::host::Host;
use oco_agent::host::recorded::RecordedHost;
use oco_agent::jobs::{Limits, UnpackError};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Component, Path, PathBuf};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const LIMITS: Limits = Limits {
    entries: 100,
    bytes: 1 << 20,
};

fuzz_target!(|bytes: &[u8]| {
    // What it leaves when it refuses must stay in there, too.
    let (_, files) = unpacked(bytes);
    for path in files.keys() {
        assert!(
            path.components().all(|part| matches!(part, Component::Normal(_))),
            "{path:?}"
        );
    }
    let size: usize = files.values().map(Vec::len).sum();
    assert!(files.len() <= LIMITS.entries && size <= 1 << 20);

    let (result, files) = unpacked(&honest(bytes));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        files.get(Path::new("folder/a file.bin")).map(Vec::as_slice),
        Some(bytes)
    );
});

fn unpacked(archive: &[u8]) -> (Result<(), UnpackError>, BTreeMap<PathBuf, Vec<u8>>) {
    let host = RecordedHost::new(oco_fuzz::machine());
    let mut staging = host.create_staging().expect("a folder in memory");
    let mut writer = staging.write_archive().expect("a file in memory");
    writer.write_all(archive).expect("memory takes everything");
    drop(writer);
    let result = unpack(staging.as_mut(), LIMITS);
    let files = host.staged().into_iter().flat_map(|package| package.files);
    (result, files.map(|(path, file)| (path, file.content)).collect())
}

fn honest(content: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let started = writer.start_file("folder/a file.bin", SimpleFileOptions::default());
    started.expect("a name that is fine");
    writer.write_all(content).expect("memory takes everything");
    writer.finish().expect("an archive").into_inner()
}
