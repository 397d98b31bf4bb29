//! What the server needs of a list of software.

use super::texts;
use oco_protocol::inventory::{Software, UNKNOWN};

/// Sorted, without duplicates, and without empty versions, for which the server would refuse the whole inventory.
pub(super) fn tidy(mut software: Vec<Software>) -> Vec<Software> {
    software.retain(|item| !item.name.is_empty());
    for item in &mut software {
        texts::software(item);
        if item.version.is_empty() {
            UNKNOWN.clone_into(&mut item.version);
        }
    }
    software.sort_unstable();
    software.dedup();
    software
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_every_item_has_a_version() {
        let item = |name: &str, version: &str| Software {
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
        };
        let tidied = tidy(vec![
            item("b", "2"),
            item("a", ""),
            item("", "1"),
            item("b", "2"),
            item("b", "1"),
            // Sorted as it is sent, without its control character.
            item("\u{1}", "1"),
        ]);
        let expected = [
            item("a", "-"),
            item("b", "1"),
            item("b", "2"),
            item("\u{fffd}", "1"),
        ];
        assert_eq!(tidied, expected);
    }
}
