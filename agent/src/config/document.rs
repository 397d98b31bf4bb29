//! An `.ini` file as a document: what it says, on which line, and how to change one value without touching the rest.
//!
//! Follows Python's `configparser`, which the existing agent reads the same files with: section and key names (keys
//! case-insensitively), `=` or `:` between key and value, comments only on lines of their own, so that a key may
//! contain `;` and `#`. The last of several equal keys wins.

use ini_roundtrip::{Item, Parser};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A parsed `.ini` file. It may hold keys, so it is wiped from memory when dropped and never shown.
#[derive(Clone, Default)]
pub struct Document {
    text: Zeroizing<String>,
    entries: Vec<Entry>,
}

/// One `key = value` line.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Entry {
    /// Section it stands in.
    pub section: String,
    /// Key, in lower case.
    pub key: String,
    /// Value without the white space around it.
    pub value: String,
    /// Line number, from 1.
    pub line: usize,
}

/// A line that is neither a section, nor a key with a value, nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedLine {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it; never the line itself, which may hold a key.
    pub reason: &'static str,
}

impl Document {
    /// Reads the whole text or names the first line that is malformed.
    pub fn parse(whole: &str) -> Result<Self, MalformedLine> {
        let text = without_mark(whole);
        if text.contains('\0') {
            let line = text.lines().position(|line| line.contains('\0')).unwrap_or(0) + 1;
            return Err(MalformedLine {
                line,
                reason: "contains NUL bytes, as after a power failure: restore the file",
            });
        }
        let lone_return = |(at, _): &(usize, &str)| !text[at + 1..].starts_with('\n');
        if let Some((at, _)) = text.match_indices('\r').find(lone_return) {
            let line = text[..at].matches('\n').count() + 1;
            return Err(MalformedLine {
                line,
                reason: "ends in a carriage return without a line feed",
            });
        }
        let (mut entries, mut section, mut line) = (Vec::new(), None, 0);
        for item in Parser::new(text) {
            line += usize::from(!matches!(item, Item::SectionEnd));
            match item {
                Item::SectionEnd | Item::Comment { .. } | Item::Blank { .. } => {}
                Item::Error(raw) if section_name(raw).is_some() => {
                    section = section_name(raw).map(str::to_owned);
                }
                Item::Error(_) => {
                    return Err(MalformedLine {
                        line,
                        reason: "is no [section]: `]` is missing",
                    });
                }
                Item::Section { name, .. } => section = Some(name.to_owned()),
                Item::Property { key, val, raw } => {
                    if raw.trim().is_empty() || raw.trim_start().starts_with([';', '#']) {
                        continue;
                    }
                    let (key, value) = match val {
                        Some(value) if !key.contains(':') => (key, value),
                        _ => raw.split_once(':').ok_or(MalformedLine {
                            line,
                            reason: "is not `key = value`",
                        })?,
                    };
                    let section = section.clone().ok_or(MalformedLine {
                        line,
                        reason: "stands before any [section]",
                    })?;
                    let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
                    entries.push(Entry {
                        section,
                        key,
                        value,
                        line,
                    });
                }
            }
        }
        Ok(Self {
            text: Zeroizing::new(whole.to_owned()),
            entries,
        })
    }

    /// All entries in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry that holds for a key.
    pub fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.section == section && entry.key == key)
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with one value set: its line is replaced, or added at the end of its section, or the section is added
    /// at the end of the file. Everything else stays as it is, comments, order and line ends included.
    #[must_use]
    pub fn with_value(&self, section: &str, key: &str, value: &str) -> Zeroizing<String> {
        let body = without_mark(&self.text);
        let mark = &self.text[..self.text.len() - body.len()];
        let line_end = if body.contains("\r\n") { "\r\n" } else { "\n" };
        let header = format!("[{section}]{line_end}");
        let mut lines: Vec<&str> = body.split_inclusive('\n').collect();
        let replaced = self.get(section, key).map(|entry| entry.line - 1);
        let before = replaced.and_then(|index| lines.get(index).copied());
        let own_end = match before {
            Some(line) if line.ends_with('\n') && !line.ends_with("\r\n") => "\n",
            _ => line_end,
        };
        let new_line = Zeroizing::new(format!("{key} = {value}{own_end}"));
        if let Some(line) = replaced.and_then(|index| lines.get_mut(index)) {
            *line = &new_line;
        } else {
            self.add_line(&mut lines, section, &header, &new_line, line_end);
        }
        lines.insert(0, mark);
        Zeroizing::new(lines.concat())
    }

    /// Adds a line at the end of its section, or with the section's header at the end of the file.
    fn add_line<'a>(
        &self,
        lines: &mut Vec<&'a str>,
        section: &str,
        header: &'a str,
        new_line: &'a str,
        line_end: &'a str,
    ) {
        let last = self.last_line_of(section, lines);
        if lines.last().is_some_and(|last| !last.ends_with('\n')) {
            // The end of the last line, which counts as part of it.
            lines.push(line_end);
        }
        match last {
            // Behind that end, where the section is the last one.
            Some(index) if !lines[index].ends_with('\n') => lines.push(new_line),
            Some(index) => lines.insert(index + 1, new_line),
            None => {
                if !lines.is_empty() {
                    lines.push(line_end);
                }
                lines.extend([header, new_line]);
            }
        }
    }

    /// Index of the last line with something in it of a section, its header included.
    fn last_line_of(&self, section: &str, lines: &[&str]) -> Option<usize> {
        let header = lines
            .iter()
            .rposition(|line| section_name(line) == Some(section))?;
        let after = lines[header + 1..]
            .iter()
            .position(|line| section_name(line).is_some());
        let end = after.map_or(lines.len(), |after| header + 1 + after);
        (header..end).rev().find(|index| !lines[*index].trim().is_empty())
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}] {}", self.line, self.section, self.key)
    }
}

/// The text behind the byte order mark that some editors put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn section_name(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_prefix('[')?.strip_suffix(']')?;
    Some(name.trim_matches(|character: char| character.is_ascii_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str =
        "; mine\n[agent]\nagent-key = a;b#c\nDebug: 1\n\n# server\n[server]\napi-url=https://x/y?z=1\n";

    #[test]
    fn a_section_whose_name_ends_in_other_white_space_is_another_section() {
        let odd = "[server\u{b}]\r\napi-url = x";
        let written = Document::parse(odd)
            .unwrap()
            .with_value("server", "server-key", "k");
        let after = Document::parse(&written).unwrap();
        assert_eq!(after.get("server", "server-key").unwrap().value, "k");
        assert_eq!(after.get("server\u{b}", "api-url").unwrap().value, "x");
    }

    #[test]
    fn values_keep_comment_characters_and_keys_ignore_case() {
        let document = Document::parse(SAMPLE).unwrap();
        assert_eq!(document.get("agent", "agent-key").unwrap().value, "a;b#c");
        assert_eq!(
            document.get("agent", "debug").unwrap(),
            &Entry {
                section: "agent".into(),
                key: "debug".into(),
                value: "1".into(),
                line: 4
            }
        );
        assert_eq!(
            document.get("server", "api-url").unwrap().value,
            "https://x/y?z=1"
        );
    }

    #[test]
    fn setting_values_keeps_comments_order_and_line_ends() {
        let document = Document::parse(SAMPLE).unwrap();
        assert_eq!(
            *document.with_value("agent", "agent-key", "new"),
            SAMPLE.replace("agent-key = a;b#c", "agent-key = new")
        );
        assert_eq!(
            *document.with_value("server", "server-key", "k"),
            format!("{SAMPLE}server-key = k\n")
        );
        assert_eq!(
            *document.with_value("agent", "machine-uid", "u"),
            SAMPLE.replace("Debug: 1\n\n# server", "Debug: 1\n\n# server\nmachine-uid = u")
        );
        let windows = Document::parse("[agent]\r\nagent-key=a").unwrap();
        assert_eq!(
            *windows.with_value("server", "server-key", "k"),
            "[agent]\r\nagent-key=a\r\n\r\n[server]\r\nserver-key = k\r\n"
        );
    }

    #[test]
    fn a_byte_order_mark_and_mixed_line_ends_stay() {
        let text = "\u{feff}[agent]\r\nagent-key = a\n[server]\r\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.text(), text);
        assert_eq!(
            *document.with_value("agent", "agent-key", "b"),
            text.replace("= a", "= b")
        );
        let marked = Document::parse("\u{feff}[agent]\na = 1").unwrap();
        assert_eq!(
            *marked.with_value("agent", "b", "2"),
            "\u{feff}[agent]\na = 1\nb = 2\n"
        );
    }

    #[test]
    fn of_equal_keys_the_last_counts_and_is_the_one_that_is_changed() {
        let text = "[a]\nk = 1\n[b]\nk = x\n[a]\nk = 2\nK: 3\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.get("a", "k").unwrap().value, "3");
        assert_eq!(*document.with_value("a", "k", "4"), text.replace("K: 3", "k = 4"));
    }

    #[test]
    fn malformed_lines_are_named() {
        for (text, line) in [
            ("key = 1", 1),
            ("[a]\nnonsense", 2),
            ("[a\nb=1", 1),
            ("[a]\nk = \0\0", 2),
        ] {
            assert_eq!(Document::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_value_that_was_set_is_read_back_and_nothing_else_changes(
            text in "(\\[[a-c]\\](\n|\r\n)([a-d] ?= ?[!-~]{0,6}(\n|\r\n)|[;#] ?[ -~]{0,6}(\n|\r\n)|\n){0,4}){0,4}",
            section in "[a-c]", key in "[a-d]", value in "[a-z0-9]{1,8}",
        ) {
            let before = Document::parse(&text).unwrap();
            let after = Document::parse(&before.with_value(&section, &key, &value)).unwrap();
            prop_assert_eq!(&after.get(&section, &key).unwrap().value, &value);
            for entry in before.entries().iter().filter(|e| (&e.section, &e.key) != (&section, &key)) {
                prop_assert_eq!(&after.get(&entry.section, &entry.key).unwrap().value,
                    &before.get(&entry.section, &entry.key).unwrap().value);
            }
            let comments = |text: &str| text.lines().filter(|l| l.starts_with([';', '#'])).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(comments(after.text()), comments(before.text()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Document::parse(&text).map(|document| document.with_value("agent", "key", "value"));
        }
    }
}
