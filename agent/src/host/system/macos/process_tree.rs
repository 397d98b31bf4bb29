//! Killing every process of a job. A process whose parent ends becomes the system's child here, so what is below the job's
//! keeper is stopped before anything is killed. A daemon that the job has made on purpose, out of the tree and the
//! process group, is not reached.

use crate::host::system::unix::process_tree::{Condition, Process, stop_and_kill_below};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::io;

/// `pbi_status` of a stopped process.
const STOPPED: u32 = 4;
/// `pbi_status` of an ended one.
const ENDED: u32 = 5;
/// Processes that may start between two calls.
const MARGIN: usize = 64;

/// Kills every process below `keeper`, which must not have been reaped yet. It stays behind, stopped.
pub(crate) fn kill_below(keeper: Pid) -> io::Result<()> {
    stop_and_kill_below(keeper, processes)
}

fn processes() -> io::Result<BTreeMap<i32, Process>> {
    // One that has ended since is no error.
    Ok(ids()?
        .into_iter()
        .filter_map(|id| Some((id, read(id)?)))
        .collect())
}

fn ids() -> io::Result<Vec<i32>> {
    // SAFETY: without a buffer, it returns how many there are.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut ids = vec![0_i32; count + MARGIN];
    let size = libc::c_int::try_from(size_of_val(ids.as_slice())).map_err(io::Error::other)?;
    // SAFETY: the buffer is as long as it says.
    let count = unsafe { libc::proc_listallpids(ids.as_mut_ptr().cast(), size) };
    ids.truncate(usize::try_from(count).map_err(|_| io::Error::last_os_error())?);
    Ok(ids)
}

/// None for a process that is gone.
fn read(id: i32) -> Option<Process> {
    // SAFETY: it consists of numbers and texts, all of which may be zero.
    let mut info: libc::proc_bsdinfo = unsafe { std::mem::zeroed() };
    let size = libc::c_int::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the buffer is as long as it says, and of the kind that is asked for.
    let length = unsafe { libc::proc_pidinfo(id, libc::PROC_PIDTBSDINFO, 0, (&raw mut info).cast(), size) };
    (length == size).then(|| Process {
        parent: info.pbi_ppid.cast_signed(),
        condition: match info.pbi_status {
            STOPPED => Condition::Stopped,
            ENDED => Condition::Ended,
            _ => Condition::Running,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_its_parents() {
        let own = processes().unwrap()[&std::process::id().cast_signed()];
        assert_eq!(own.parent.cast_unsigned(), std::os::unix::process::parent_id());
        assert_eq!(own.condition, Condition::Running);
    }
}
