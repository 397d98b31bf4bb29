//! A process with everything it starts, in a job object of Windows.

use super::text::{error, wide};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use windows::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ALREADY_EXISTS, GetLastError, HANDLE,
};
use windows::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, OpenJobObjectW,
    SetInformationJobObject, TerminateJobObject,
};
use windows::Win32::System::SystemServices::JOB_OBJECT_TERMINATE;
use windows::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, GetCurrentProcess, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};
use windows::core::PCWSTR;

/// The exit code of processes that are killed, as other tools of the system say it.
const KILLED: u32 = 1;

/// A group that every process belongs to which one of its members starts. Closing it ends nobody: what a procedure left
/// in the background on purpose goes on, and so does everything if this agent crashes.
#[derive(Debug)]
pub(super) struct JobObject(OwnedHandle);

impl JobObject {
    /// Starts a command as the first member of a new group. It does nothing before it belongs there.
    pub(super) fn start(command: &mut Command) -> io::Result<(Self, Child)> {
        // SAFETY: no attributes and no name; the handle is owned by nobody else.
        let job =
            unsafe { OwnedHandle::from_raw_handle(CreateJobObjectW(None, PCWSTR::null()).map_err(error)?.0) };
        Self(job).run(command, |_| Ok(()))
    }

    /// The same for a group that others can [find](Self::find) by its name as long as the command runs, even if this
    /// process ends before. The command does nothing before `note` has taken note of it; if this process ends until
    /// then, it ends, too.
    pub(super) fn start_named(
        command: &mut Command,
        name: &str,
        note: impl FnOnce(&Child) -> io::Result<()>,
    ) -> io::Result<(Self, Child)> {
        let name = wide(name)?;
        // SAFETY: the name has its end mark; no attributes; the handle is owned by nobody else. The error is looked at
        // before anything else can set one.
        let (job, before) = unsafe {
            let job = CreateJobObjectW(None, PCWSTR(name.as_ptr())).map_err(error)?;
            (OwnedHandle::from_raw_handle(job.0), GetLastError())
        };
        if before == ERROR_ALREADY_EXISTS {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let job = Self(job);
        job.end_with_agent(true)?;
        let (job, child) = job.run(command, note)?;
        if let Err(cause) = job.end_with_agent(false) {
            job.kill()?;
            return Err(cause);
        }
        // Only for the case that this process ends: then nobody else has the group.
        if let Err(error) = job.give(&child) {
            tracing::debug!(%error, "only the agent that started a job can end it");
        }
        Ok((job, child))
    }

    /// The group of that name, if there is one.
    pub(super) fn find(name: &str) -> io::Result<Option<Self>> {
        let name = wide(name)?;
        // SAFETY: the name has its end mark; the handle is owned by nobody else.
        let found = unsafe { OpenJobObjectW(JOB_OBJECT_TERMINATE, false, PCWSTR(name.as_ptr())) };
        match found.map_err(error) {
            // SAFETY: as above.
            Ok(job) => Ok(Some(Self(unsafe { OwnedHandle::from_raw_handle(job.0) }))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Starts a command in the group, once `note` has taken note of it.
    fn run(
        self,
        command: &mut Command,
        note: impl FnOnce(&Child) -> io::Result<()>,
    ) -> io::Result<(Self, Child)> {
        let mut child = command
            .creation_flags(CREATE_SUSPENDED.0 | CREATE_NO_WINDOW.0)
            .spawn()?;
        // SAFETY: both handles are open for as long as their owners live.
        let assigned = unsafe { AssignProcessToJobObject(self.handle(), handle(&child)) };
        let running = assigned
            .map_err(error)
            .and_then(|()| note(&child))
            .and_then(|()| resume(child.id()));
        if let Err(cause) = running {
            let _ = child.kill();
            let _ = child.wait();
            return Err(cause);
        }
        Ok((self, child))
    }

    /// Sets whether all processes of the group end when nobody has it open any more.
    fn end_with_agent(&self, ends: bool) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        if ends {
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        }
        let size = u32::try_from(size_of_val(&limits)).unwrap_or_default();
        // SAFETY: the group is open, and the limits are as long as is said and live until the function returns.
        unsafe {
            let limits = (&raw const limits).cast();
            SetInformationJobObject(self.handle(), JobObjectExtendedLimitInformation, limits, size)
        }
        .map_err(error)
    }

    /// Has a process keep the group open until it ends. It knows nothing of that, and hands it on to nobody.
    fn give(&self, child: &Child) -> io::Result<()> {
        let mut theirs = HANDLE::default();
        // SAFETY: both processes and the group are open; what comes is a handle of the other process.
        unsafe {
            DuplicateHandle(
                GetCurrentProcess(),
                self.handle(),
                handle(child),
                &raw mut theirs,
                0,
                false,
                DUPLICATE_SAME_ACCESS,
            )
        }
        .map_err(error)
    }

    fn handle(&self) -> HANDLE {
        HANDLE(self.0.as_raw_handle())
    }

    /// Kills every process of the group; no error if there are none any more.
    pub(super) fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(self.handle(), KILLED) }.map_err(error)
    }
}

/// The handle of a child, which stays its own.
pub(super) fn handle(child: &Child) -> HANDLE {
    HANDLE(child.as_raw_handle())
}

/// Lets the first thread of a process that was started suspended run. The standard library closes that thread's handle.
fn resume(process: u32) -> io::Result<()> {
    // SAFETY: takes two numbers; the handle is owned by nobody else.
    let snapshot = unsafe {
        let snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0).map_err(error)?;
        OwnedHandle::from_raw_handle(snapshot.0)
    };
    let list = HANDLE(snapshot.as_raw_handle());
    let mut entry = THREADENTRY32 {
        dwSize: u32::try_from(size_of::<THREADENTRY32>()).unwrap_or_default(),
        ..THREADENTRY32::default()
    };
    // SAFETY: the entry says how long it is.
    let mut found = unsafe { Thread32First(list, &raw mut entry) };
    while found.is_ok() {
        if entry.th32OwnerProcessID == process {
            // SAFETY: takes numbers; the handle is owned by nobody else.
            let thread = unsafe {
                let thread = OpenThread(THREAD_SUSPEND_RESUME, false, entry.th32ThreadID).map_err(error)?;
                OwnedHandle::from_raw_handle(thread.0)
            };
            // SAFETY: the handle is open.
            return match unsafe { ResumeThread(HANDLE(thread.as_raw_handle())) } {
                u32::MAX => Err(io::Error::last_os_error()),
                _ => Ok(()),
            };
        }
        // SAFETY: as above.
        found = unsafe { Thread32Next(list, &raw mut entry) };
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the process has no thread",
    ))
}
