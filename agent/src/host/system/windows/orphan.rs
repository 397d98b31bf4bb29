//! Jobs whose agent is killed while they run: how the next one knows of them.
//!
//! Before a shell does anything, what it is stands in a file of its staging folder: its process id and, as ids are used
//! again, when it was created; and when its time is over. As on the other systems, it is the shell that counts: what a
//! procedure left in the background on purpose is no job that runs.

use super::job_object::{JobObject, handle};
use super::text::error;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};
use windows::Win32::Foundation::{FILETIME, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows::Win32::System::Threading::{
    GetProcessTimes, INFINITE, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
    WaitForSingleObject,
};

/// The file's name, beside the package.
const RECORD: &str = "job";
/// Longest wait at a time: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);

/// Starts the shell of a job in its staging folder, so that the next agent knows of it.
pub(super) fn start(
    command: &mut Command,
    staging: &Path,
    time_limit: Option<Duration>,
) -> io::Result<(JobObject, Child)> {
    let note = |child: &Child| {
        let record = Record {
            process: child.id(),
            created: created(handle(child))?,
            deadline: time_limit.and_then(|limit| Some(seconds(now())?.saturating_add(limit.as_secs()))),
        };
        std::fs::write(staging.join(RECORD), record.to_text())
    };
    JobObject::start_named(command, &name(staging), note)
}

/// Whether the job of a staging folder still runs.
pub(crate) fn is_in_use(staging: &Path) -> bool {
    Record::of(staging).is_some_and(|record| record.open().is_some())
}

/// Returns once the job of a staging folder has ended. When its time is over, it is killed with all its processes.
pub(crate) fn wait_for_end(staging: &Path) -> io::Result<()> {
    let Some(record) = Record::of(staging) else {
        return Ok(());
    };
    let Some(shell) = record.open() else { return Ok(()) };
    loop {
        let left = record.time_left();
        if left == Some(Duration::ZERO) {
            tracing::warn!(staging.folder = %staging.display(), "the time of an earlier agent's job is over: it is killed");
            let job = JobObject::find(&name(staging))?;
            job.ok_or(io::ErrorKind::NotFound)?.kill()?;
            return wait(&shell, None).map(|_| ());
        }
        if wait(&shell, Some(left.map_or(LOOK, |left| left.min(LOOK))))? {
            return Ok(());
        }
    }
}

/// What the job's group is called: nobody else knows the name of the folder.
fn name(staging: &Path) -> String {
    let folder = staging.file_name().unwrap_or_default().to_string_lossy();
    format!("Global\\oco-agent-{folder}")
}

/// What is known of a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    process: u32,
    /// When it was created, in the system's own units.
    created: u64,
    /// When its time is over, in seconds of UNIX time.
    deadline: Option<u64>,
}

impl Record {
    fn to_text(self) -> String {
        let deadline = self.deadline.map(|deadline| deadline.to_string());
        format!(
            "{} {} {}\n",
            self.process,
            self.created,
            deadline.unwrap_or_default()
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        // Without its end, the last number may be half a number.
        let mut parts = text.strip_suffix('\n')?.split(' ');
        let (process, created) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let deadline = match parts.next()? {
            "" => None,
            deadline => Some(deadline.parse().ok()?),
        };
        parts.next().is_none().then_some(Self {
            process,
            created,
            deadline,
        })
    }

    /// None where no shell was started, or not to the end.
    fn of(staging: &Path) -> Option<Self> {
        Self::from_text(&std::fs::read_to_string(staging.join(RECORD)).ok()?)
    }

    /// The shell, if it still runs.
    fn open(self) -> Option<OwnedHandle> {
        let rights = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        // SAFETY: takes numbers; the handle is owned by nobody else.
        let shell = unsafe {
            let shell = OpenProcess(rights, false, self.process).ok()?;
            OwnedHandle::from_raw_handle(shell.0)
        };
        let same = created(HANDLE(shell.as_raw_handle())).is_ok_and(|created| created == self.created);
        let runs = same && !wait(&shell, Some(Duration::ZERO)).ok()?;
        runs.then_some(shell)
    }

    fn time_left(self) -> Option<Duration> {
        let left = self.deadline?.saturating_sub(seconds(now())?);
        Some(Duration::from_secs(left))
    }
}

/// When a process was created, in the system's own units.
fn created(process: HANDLE) -> io::Result<u64> {
    let [mut created, mut exit, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the process is open, and everything lives until the function returns.
    unsafe {
        GetProcessTimes(
            process,
            &raw mut created,
            &raw mut exit,
            &raw mut kernel,
            &raw mut user,
        )
    }
    .map_err(error)?;
    Ok(u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
}

/// Waits for the end of a process, for as long as is said; whether it has ended.
fn wait(process: &OwnedHandle, time: Option<Duration>) -> io::Result<bool> {
    let time = time.map_or(INFINITE, |time| {
        u32::try_from(time.as_millis()).unwrap_or(INFINITE - 1)
    });
    // SAFETY: the process is open.
    match unsafe { WaitForSingleObject(HANDLE(process.as_raw_handle()), time) } {
        WAIT_OBJECT_0 => Ok(true),
        WAIT_TIMEOUT => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(clippy::disallowed_methods)] // part of the system: another agent's job is not judged by a test's clock
fn now() -> SystemTime {
    SystemTime::now()
}

fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::leftovers::Leftovers;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use std::process::Stdio;

    /// A staging folder.
    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn staging(&self) -> PathBuf {
            let mut random = [0; 8];
            getrandom::fill(&mut random).unwrap();
            let folder = self
                .0
                .path()
                .join(format!("oco-job-{:x}", u64::from_ne_bytes(random)));
            std::fs::create_dir_all(folder.join("package")).unwrap();
            folder
        }

        fn count(&self) -> usize {
            std::fs::read_dir(self.0.path()).unwrap().count()
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("cmd");
        command.args(["/d", "/c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }

    /// Ends when its input does.
    const WAITS: &str = "set /p line=";
    const ENDLESS: &str = "for /l %i in () do @rem";

    #[test]
    fn a_job_is_in_use_until_its_shell_ends_and_only_then_its_package_is_removed() {
        let root = Root::new();
        let (running, ended) = (root.staging(), root.staging());
        let (_job, mut child) = start(&mut shell(WAITS), &running, None).unwrap();
        let (_other, mut other) = start(&mut shell("exit 0"), &ended, None).unwrap();
        other.wait().unwrap();
        let leftovers = Leftovers::default();
        leftovers.note(root.0.path()).unwrap();
        assert_eq!(leftovers.running(), 1);
        leftovers.remove_ended();
        assert_eq!(root.count(), 1);
        assert!(running.exists() && is_in_use(&running));
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| leftovers.remove_all());
            assert_eq!(leftovers.running(), 1);
            assert!(!waiting.is_finished());
            drop(child.stdin.take());
        });
        assert_eq!((root.count(), leftovers.running()), (0, 0));
        child.wait().unwrap();
    }

    #[test]
    fn a_job_whose_time_is_over_is_killed() {
        let root = Root::new();
        let staging = root.staging();
        let (job, mut child) = start(&mut shell(ENDLESS), &staging, Some(Duration::ZERO)).unwrap();
        // As if this agent had been killed.
        drop(job);
        assert!(is_in_use(&staging));
        wait_for_end(&staging).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }

    #[test]
    fn a_shell_that_cannot_be_taken_note_of_does_not_run() {
        let root = Root::new();
        let missing = root.0.path().join("oco-job-missing");
        let witness = root.0.path().join("witness");
        let script = format!("echo x> {}", witness.display());
        assert!(start(&mut shell(&script), &missing, None).is_err());
        assert!(!witness.exists());
    }

    #[test]
    fn an_id_that_another_process_has_now_is_no_job_that_runs() {
        let own = Record {
            process: std::process::id(),
            // SAFETY: takes nothing, and gives a number that need not be closed.
            created: created(unsafe { windows::Win32::System::Threading::GetCurrentProcess() }).unwrap(),
            deadline: None,
        };
        assert!(own.open().is_some());
        let earlier = Record {
            created: own.created - 1,
            ..own
        };
        assert!(earlier.open().is_none());
    }

    #[test]
    fn a_folder_without_a_whole_record_has_no_job() {
        let root = Root::new();
        let staging = root.staging();
        assert!(!is_in_use(&staging));
        for text in ["", "4 5", "4 5 \n6", "4 5", "4  \n", "x 5 \n", "4 5 6 7\n"] {
            std::fs::write(staging.join(RECORD), text).unwrap();
            assert_eq!(Record::of(&staging), None, "{text:?}");
            wait_for_end(&staging).unwrap();
        }
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(process: u32, created: u64, deadline: Option<u64>) {
            let record = Record { process, created, deadline };
            prop_assert_eq!(Record::from_text(&record.to_text()), Some(record));
        }
    }
}
