//! Names of vendors and products in the lists that distributions install (`pci.ids`, `usb.ids`: vendors at the start of
//! a line, their products below them, indented with a tabulator).

use crate::inventory::field::lossy;

/// What the list knows of one product.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    /// Of its vendor.
    pub(super) vendor: Option<String>,
    /// Of itself.
    pub(super) product: Option<String>,
}

/// Looks one product up. The list is searched as it is, because most of it is never asked for.
pub(super) fn look_up(list: &[u8], vendor: u32, product: u32) -> Names {
    let mut names = Names::default();
    let (vendor, product) = (format!("{vendor:04x}  "), format!("\t{product:04x}  "));
    for line in list.split(|byte| *byte == b'\n') {
        if names.vendor.is_none() {
            names.vendor = name(line, &vendor);
        } else if matches!(line.first(), None | Some(b'#')) {
            // Comments may stand between the products.
        } else if !line.starts_with(b"\t") {
            break;
        } else if let Some(name) = name(line, &product) {
            names.product = Some(name);
            break;
        }
    }
    names
}

/// What stands behind the number.
fn name(line: &[u8], start: &str) -> Option<String> {
    let rest = line.get(start.len()..)?;
    let found = line.starts_with(start.as_bytes()) && !rest.is_empty();
    found.then(|| lossy(rest.to_vec()).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &[u8] = b"# Version: 2024.01.01\n\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n\t1638  Cezanne\n\t\t103c 8aa1  Sub\n\
8086  Intel Corporation\n# note\n\t3e9b  CoffeeLake-H GT2 [UHD Graphics 630]\n\t5917  UHD Graphics 620\nC 03  Display controller\n\t00  VGA\n";

    #[test]
    fn products_are_found_below_their_vendor_only() {
        let names = look_up(LIST, 0x8086, 0x5917);
        assert_eq!(names.vendor.as_deref(), Some("Intel Corporation"));
        assert_eq!(names.product.as_deref(), Some("UHD Graphics 620"));
        assert_eq!(look_up(LIST, 0x8086, 0x1638).product, None);
        assert_eq!(look_up(LIST, 0x1002, 0x8aa1).product, None);
        assert_eq!(look_up(LIST, 0x10de, 0x1c03), Names::default());
    }

    proptest! {
        #[test]
        fn no_list_panics(list in proptest::collection::vec(any::<u8>(), 0..300), vendor: u32, product: u32) {
            look_up(&list, vendor, product);
        }
    }
}
