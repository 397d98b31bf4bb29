//! Events of Windows' logs, from their XML (the event schema of `winevt`).

use crate::inventory::field::{CollectError, Result};
use jiff::Timestamp;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event as Piece};
use std::collections::BTreeMap;

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When it was logged.
    pub(super) time: Timestamp,
    /// Its data, by name.
    data: BTreeMap<String, String>,
}

impl Event {
    /// Reads `<Event><System>...</System><EventData><Data Name='...'>...</Data></EventData></Event>`.
    pub(super) fn parse(xml: &str) -> Result<Self> {
        read(xml).ok_or_else(|| {
            CollectError::malformed(
                "an event",
                "it is no complete event with the time of its creation",
            )
        })
    }

    /// A piece of its data, without blanks around it; empty if there is none, which events say with a hyphen.
    pub(super) fn data(&self, name: &str) -> &str {
        match self.data.get(name).map(|text| text.trim()) {
            None | Some("-") => "",
            Some(text) => text,
        }
    }
}

fn read(xml: &str) -> Option<Event> {
    let mut reader = Reader::from_str(xml);
    let (mut time, mut data) = (None, BTreeMap::new());
    // The piece of data that is open.
    let mut open: Option<(String, String)> = None;
    let mut depth = 0_usize;
    loop {
        let piece = reader.read_event().ok()?;
        match &piece {
            Piece::Start(tag) | Piece::Empty(tag) => match tag.local_name().as_ref() {
                "TimeCreated" => time = attribute(tag, "SystemTime")?.parse().ok(),
                "Data" => open = attribute(tag, "Name").map(|name| (name, String::new())),
                _ => {}
            },
            Piece::Text(text) => append(&mut open, &text.xml10_content()),
            Piece::CData(text) => append(&mut open, &text.xml10_content()),
            Piece::GeneralRef(reference) => append(&mut open, &resolve(reference)),
            Piece::Eof => return (depth == 0).then_some(Event { time: time?, data }),
            _ => {}
        }
        match piece {
            Piece::Start(_) => depth += 1,
            Piece::End(_) => {
                depth = depth.checked_sub(1)?;
                data.extend(open.take());
            }
            Piece::Empty(_) => data.extend(open.take()),
            _ => {}
        }
    }
}

fn append(open: &mut Option<(String, String)>, text: &str) {
    if let Some((_, content)) = open {
        content.push_str(text);
    }
}

/// The character that a reference stands for.
fn resolve(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(reference)
            .unwrap_or_default()
            .to_owned(),
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
    Some(value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quick_xml::escape::escape;

    fn xml(data: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID>4624</EventID>\
             <TimeCreated SystemTime='2026-11-21T08:15:00.123456700Z'/></System><EventData>{data}</EventData></Event>"
        )
    }

    #[test]
    fn data_is_found_by_name_and_unescaped() {
        let event = Event::parse(&xml(
            "<Data Name='TargetUserName'>M&amp;M&#252;ller</Data><Data Name='Empty'></Data><Data Name='None'/>\
             <Data Name=\"IpAddress\">-</Data><Data>no name</Data><Data Name='LogonProcessName'>User32 </Data>",
        ))
        .unwrap();
        assert_eq!(event.time.to_string(), "2026-11-21T08:15:00.1234567Z");
        assert_eq!(event.data("TargetUserName"), "M&Müller");
        assert_eq!(
            ["Empty", "None", "IpAddress", "Missing", "LogonProcessName"].map(|name| event.data(name)),
            ["", "", "", "", "User32"]
        );
    }

    #[test]
    fn what_is_no_whole_event_is_refused() {
        let whole = xml("");
        for broken in [
            "",
            "<Event/>",
            &whole[..whole.len() - 3],
            "<Event></System>",
            "text",
        ] {
            assert!(Event::parse(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(<(/?)(Event|Data|Data Name='x'|TimeCreated SystemTime='2')(/?)>|&amp;|&#[0-9]{1,9};|<!\\[CDATA\\[|\\PC)*") {
            let _ = Event::parse(&text);
        }

        #[test]
        fn every_text_is_found_again(value in "[a-zäß<>&'\"\\\\]{1,20}") {
            let event = Event::parse(&xml(&format!("<Data Name='x'>{}</Data>", escape(&value)))).unwrap();
            prop_assert_eq!(event.data("x"), value);
        }
    }
}
