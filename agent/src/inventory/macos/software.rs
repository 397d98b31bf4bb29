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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::RecordedHost;
    use crate::inventory::macos::tests::recording;
    use proptest::prelude::*;

    fn found(content: &[u8]) -> Vec<Software> {
        let mut recording = recording(&[]);
        let path = "/Applications/Some Tool.app/Contents/Info.plist";
        recording.files.insert(path.to_owned(), content.to_vec());
        collect(&RecordedHost::new(recording)).unwrap()
    }

    #[test]
    fn the_bundles_name_stands_in_for_an_empty_one() {
        let info = b"<plist><dict><key>CFBundleName</key><string> </string>\
            <key>CFBundleVersion</key><real>1.5</real></dict></plist>";
        let expected = Software {
            name: "Some Tool".to_owned(),
            version: "1.5".to_owned(),
            description: String::new(),
        };
        assert_eq!(found(info), [expected]);
    }

    proptest! {
        #[test]
        fn every_application_is_listed_whatever_its_description_says(content in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}") {
            prop_assert_eq!(found(&content).len(), 1);
            let info = format!("<plist><dict><key>CFBundleName</key><string>{text}</string></dict></plist>");
            let listed = found(info.as_bytes());
            prop_assert_eq!(listed.len(), 1);
            prop_assert!(!listed[0].name.is_empty());
        }
    }
}
