//! The scheduled task that starts the service again after an update of the agent.

use super::NAME;
use std::path::Path;
use std::time::Duration;

/// The task's name. One that is left of an earlier update is replaced.
pub const TASK: &str = "oco-agent-restart";

/// How long after the agent's end it is started again: an installer may still be at work.
const DELAY: Duration = Duration::from_secs(60);
/// So long the task tries again each minute, as the program may not be there yet, or the agent before it not have ended: a start
/// of a service that runs does nothing. A computer that is off meanwhile starts the service by itself; the task is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The task as the system's scheduler takes it, for an agent that ends at `now`. Unlike the options of `schtasks`, this
/// form does not depend on how the computer's language writes dates.
pub fn task(now: jiff::Timestamp, system_folder: &Path) -> String {
    let at = |delay: Duration| {
        let moment = now.saturating_add(delay).unwrap_or(jiff::Timestamp::MAX);
        moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let program = quick_xml::escape::escape(system_folder.join("sc.exe").display().to_string()).into_owned();
    [
        "<?xml version=\"1.0\"?>\n",
        "<Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">\n",
        "  <Triggers>\n    <TimeTrigger>\n      <StartBoundary>",
        &at(DELAY),
        "</StartBoundary>\n      <EndBoundary>",
        &at(DELAY + FORGOTTEN),
        "</EndBoundary>\n      <Repetition>\n        <Interval>PT1M</Interval>\n",
        &format!("        <Duration>PT{}S</Duration>\n", FORGOTTEN.as_secs()),
        "      </Repetition>\n    </TimeTrigger>\n  </Triggers>\n",
        // The system's own account.
        "  <Principals>\n    <Principal id=\"system\">\n      <UserId>S-1-5-18</UserId>\n",
        "      <RunLevel>HighestAvailable</RunLevel>\n    </Principal>\n  </Principals>\n",
        "  <Settings>\n    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>\n",
        "    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\n",
        "    <StartWhenAvailable>true</StartWhenAvailable>\n",
        "    <DeleteExpiredTaskAfter>PT1M</DeleteExpiredTaskAfter>\n  </Settings>\n",
        "  <Actions Context=\"system\">\n    <Exec>\n      <Command>",
        &program,
        "</Command>\n      <Arguments>start ",
        NAME,
        "</Arguments>\n    </Exec>\n  </Actions>\n</Task>\n",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    #[test]
    fn the_task_starts_the_service_a_minute_later_and_for_ten_minutes() {
        let now: jiff::Timestamp = "2026-12-31T23:59:30.5Z".parse().unwrap();
        let task = task(now, Path::new(r"C:\Win & dows\System32"));
        let mut reader = Reader::from_str(&task);
        let (mut depth, mut texts) = (0, Vec::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Text(text) => texts.push(text.xml10_content().trim().to_owned()),
                Event::GeneralRef(reference) => assert_eq!(&*reference.xml10_content(), "amp"),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        assert!(texts.contains(&"2027-01-01T00:00:30Z".to_owned()), "{texts:?}");
        assert!(texts.contains(&"2027-01-01T00:10:30Z".to_owned()), "{texts:?}");
        assert!(texts.contains(&"PT1M".to_owned()), "{texts:?}");
        assert!(texts.contains(&"PT600S".to_owned()), "{texts:?}");
        assert!(texts.contains(&"start oco-agent".to_owned()), "{texts:?}");
    }
}
