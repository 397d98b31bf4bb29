//! Applications, from the bundles in `/Applications`.

use super::property_list::{dictionary, text};
use crate::host::Host;
use crate::inventory::field::{Result, field, optional};
use crate::inventory::packages::tidy;
use oco_protocol::inventory::Software;
use std::path::Path;

const FOLDER: &str = "/Applications";

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Software>> {
    let names = host.list_folder(Path::new(FOLDER))?;
    let bundles = names.iter().filter_map(|name| name.strip_suffix(".app"));
    Ok(tidy(bundles.map(|name| application(host, name)).collect()))
}

/// An application; one whose description cannot be read is still installed.
fn application(host: &dyn Host, bundle: &str) -> Software {
    let path = format!("{FOLDER}/{bundle}.app/Contents/Info.plist");
    // Apps for other devices have theirs elsewhere.
    let content = field("software", optional(host.read_file(Path::new(&path)))).flatten();
    let info = content
        .and_then(|content| field("software", dictionary(&content, &path)))
        .unwrap_or_default();
    let text = |key| text(&info, key).filter(|text| !text.is_empty());
    Software {
        name: text("CFBundleName").unwrap_or_else(|| bundle.to_owned()),
        version: text("CFBundleShortVersionString")
            .or_else(|| text("CFBundleVersion"))
            .unwrap_or_default(),
        description: text("CFBundleGetInfoString").unwrap_or_default(),
    }
}
