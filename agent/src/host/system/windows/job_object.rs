//! A process with everything it starts, in a job object of Windows.

use super::text::error;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows::Win32::System::JobObjects::{AssignProcessToJobObject, CreateJobObjectW, TerminateJobObject};
use windows::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
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
        let mut child = command
            .creation_flags(CREATE_SUSPENDED.0 | CREATE_NO_WINDOW.0)
            .spawn()?;
        // SAFETY: both handles are open for as long as their owners live.
        let assigned = unsafe { AssignProcessToJobObject(HANDLE(job.as_raw_handle()), handle(&child)) };
        if let Err(cause) = assigned.map_err(error).and_then(|()| resume(child.id())) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(cause);
        }
        Ok((Self(job), child))
    }

    /// Kills every process of the group; no error if there are none any more.
    pub(super) fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(HANDLE(self.0.as_raw_handle()), KILLED) }.map_err(error)
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
