//! The log: lines on the standard error, of a service in a file.

#[cfg(windows)]
use oco_agent::service::windows as service;
use std::fmt::{self, Debug, Write};
use std::io::{self, IsTerminal};
use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Asks for another level of the log.
const VARIABLE: &str = "OCO_AGENT_LOG";

/// Starts the log at `level`, unless the environment asks for another one, or for one a module (`oco_agent=trace,warn`).
///
/// What this agent logs of requests and responses has no secrets in it. Libraries know nothing of those: whatever the
/// filter says, their traces, which could show what goes over a connection, stay out.
pub(crate) fn start(level: LevelFilter) {
    let wanted = std::env::var_os(VARIABLE).map(|wanted| wanted.to_string_lossy().into_owned());
    let parsed = wanted.as_deref().map(str::parse::<Targets>);
    let wrong = matches!(parsed, Some(Err(_)));
    let default = || Targets::new().with_default(level);
    let filter = parsed.and_then(Result::ok).unwrap_or_else(default);
    let no_traces_of_others =
        filter_fn(|metadata| metadata.target().starts_with("oco_") || *metadata.level() <= Level::DEBUG);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer())
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .fmt_fields(debug_fn(write_field).delimited(" "))
        .with_filter(filter.and(no_traces_of_others));
    tracing_subscriber::registry().with(lines).init();
    if wrong {
        tracing::warn!(
            value = wanted.unwrap_or_default(),
            "{VARIABLE} is ignored: expected a level (off, error, warn, info, debug, trace), or MODULE=LEVEL, with commas \
             between them"
        );
    }
}

#[cfg(not(windows))]
fn writer() -> BoxMakeWriter {
    BoxMakeWriter::new(io::stderr)
}

/// A service has no terminal.
#[cfg(windows)]
fn writer() -> BoxMakeWriter {
    match service::log_file() {
        Some(file) => BoxMakeWriter::new(move || file),
        None => BoxMakeWriter::new(io::stderr),
    }
}

/// Writes a field as `NAME=VALUE`, the message as it is. Names of jobs, refusals and much else come from the server: what could
/// end the line and begin another one, or tell a terminal something, is escaped.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(Escaped(writer), "{value:?}")
}

struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.chars().next_back().filter(|last| last.is_control()) {
                Some(control) => {
                    self.0.write_str(&piece[..piece.len() - control.len_utf8()])?;
                    write!(self.0, "{}", control.escape_default())?;
                }
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_that_is_logged_begins_another_line_or_tells_a_terminal_something() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(debug_fn(write_field).delimited(" "));
        let hostile = "1\n2026-01-01 INFO all is well\u{1b}[2J\u{9b}\r\u{7f}ä";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(job.id = %hostile, count = 3, name = "a b", "it says {hostile}");
        });
        let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let escaped = r"1\n2026-01-01 INFO all is well\u{1b}[2J\u{9b}\r\u{7f}ä";
        assert_eq!(
            logged.trim_start().split_once(": ").unwrap().1,
            format!("it says {escaped} job.id={escaped} count=3 name=\"a b\"\n")
        );
    }
}
