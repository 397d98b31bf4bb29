//! Events of Windows' logs, from their XML (the event schema of `winevt`).

use jiff::Timestamp;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event as Piece};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Something that is no event.
#[derive(Debug, thiserror::Error)]
#[error("it is no complete event with the time of its creation")]
pub(crate) struct MalformedEvent;

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it was logged.
    pub(crate) time: Timestamp,
    /// What logged it; empty if it does not say.
    pub(super) provider: String,
    /// What kind of event of its provider's it is.
    pub(super) id: u32,
    /// From 1, critical, to 5, verbose; 0 where that has no meaning, as for audits.
    pub(super) level: u8,
    /// Its data, by name. What has no name is called `Data1`, `Data2` and so on; what has the same name stands line by line.
    pub(super) data: BTreeMap<String, String>,
}

impl Event {
    /// Reads `<Event><System>...</System><EventData>...</EventData></Event>`, or `<UserData>` with elements of its own.
    pub(crate) fn parse(xml: &str) -> Result<Self, MalformedEvent> {
        read(xml).ok_or(MalformedEvent)
    }

    /// A piece of its data, without blanks around it; empty if there is none, which events say with a hyphen.
    pub(crate) fn data(&self, name: &str) -> &str {
        match self.data.get(name).map(|text| text.trim()) {
            None | Some("-") => "",
            Some(text) => text,
        }
    }
}

/// What is known of an event so far.
#[derive(Default)]
struct Draft {
    time: Option<Timestamp>,
    provider: String,
    id: u32,
    level: u8,
    data: BTreeMap<String, String>,
    unnamed: usize,
    /// The elements that are open.
    path: Vec<String>,
    /// The name and the text so far of the innermost one, unless it has others in it.
    leaf: Option<(Option<String>, String)>,
}

fn read(xml: &str) -> Option<Event> {
    let mut reader = Reader::from_str(xml);
    let mut draft = Draft::default();
    loop {
        match reader.read_event().ok()? {
            Piece::Start(tag) => draft.begin(&tag)?,
            Piece::Empty(tag) => {
                draft.begin(&tag)?;
                draft.end()?;
            }
            Piece::End(_) => draft.end()?,
            Piece::Text(text) => draft.append(&text.xml10_content()),
            Piece::CData(text) => draft.append(&text.xml10_content()),
            Piece::GeneralRef(reference) => draft.append(&resolve(&reference)),
            Piece::Eof => return draft.finish(),
            _ => {}
        }
    }
}

impl Draft {
    fn begin(&mut self, tag: &BytesStart<'_>) -> Option<()> {
        let local = tag.local_name();
        let element: &str = local.as_ref();
        match (self.part(), element) {
            (Some("System"), "TimeCreated") => self.time = attribute(tag, "SystemTime")?.parse().ok(),
            (Some("System"), "Provider") => self.provider = attribute(tag, "Name").unwrap_or_default(),
            _ => {}
        }
        self.path.push(element.to_owned());
        self.leaf = Some((attribute(tag, "Name"), String::new()));
        Some(())
    }

    fn append(&mut self, text: &str) {
        if let Some((_, content)) = &mut self.leaf {
            content.push_str(text);
        }
    }

    fn end(&mut self) -> Option<()> {
        let element = self.path.pop()?;
        let Some((name, text)) = self.leaf.take() else {
            return Some(());
        };
        match (self.part(), element.as_str()) {
            (Some("System"), "EventID") => self.id = text.trim().parse().unwrap_or_default(),
            (Some("System"), "Level") => self.level = text.trim().parse().unwrap_or_default(),
            (Some("EventData"), "Data") => {
                let name = name.unwrap_or_else(|| {
                    self.unnamed += 1;
                    format!("Data{}", self.unnamed)
                });
                self.add(name, text);
            }
            (Some("EventData" | "UserData"), _) => self.add(element, text),
            _ => {}
        }
        Some(())
    }

    /// Which part of the event is open.
    fn part(&self) -> Option<&str> {
        self.path.get(1).map(String::as_str)
    }

    fn add(&mut self, name: String, text: String) {
        match self.data.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(text);
            }
            Entry::Occupied(mut entry) => {
                let whole = entry.get_mut();
                whole.push('\n');
                whole.push_str(&text);
            }
        }
    }

    fn finish(self) -> Option<Event> {
        self.path.is_empty().then_some(Event {
            time: self.time?,
            provider: self.provider,
            id: self.id,
            level: self.level,
            data: self.data,
        })
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
    fn what_the_system_says_of_an_event_is_told_from_its_data() {
        let event = Event::parse(
            "<Event><System><Provider Name='Service Control Manager' Guid='{5}'/><EventID Qualifiers='16384'>7036</EventID>\
             <Level>4</Level><TimeCreated SystemTime='2026-11-21T08:15:00Z'/></System><EventData>\
             <Data>a</Data><Data Name='Level'>9</Data><Data>b</Data><Data Name='Level'>8</Data><Binary>00ff</Binary>\
             </EventData></Event>",
        )
        .unwrap();
        assert_eq!(
            (event.provider.as_str(), event.id, event.level),
            ("Service Control Manager", 7036, 4)
        );
        let data: Vec<_> = event
            .data
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        assert_eq!(
            data,
            [
                ("Binary", "00ff"),
                ("Data1", "a"),
                ("Data2", "b"),
                ("Level", "9\n8")
            ]
        );
    }

    #[test]
    fn data_of_a_providers_own_form_is_found_by_its_elements() {
        let event = Event::parse(
            "<Event><System><TimeCreated SystemTime='2026-11-21T08:15:00Z'/></System><UserData>\
             <EventXML xmlns='Event_NS'><User>CORP\\anna</User><SessionID>2</SessionID><Empty/></EventXML>\
             </UserData></Event>",
        )
        .unwrap();
        let data: Vec<_> = event
            .data
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        assert_eq!(data, [("Empty", ""), ("SessionID", "2"), ("User", "CORP\\anna")]);
        assert_eq!((event.provider.as_str(), event.id, event.level), ("", 0, 0));
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
