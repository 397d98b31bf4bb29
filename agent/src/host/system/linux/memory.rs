//! This process's memory: what it takes of the computer's while it has nothing to do, and who can look at it.

use std::ffi::{c_int, c_void};

/// Sees to it that this process takes little memory. To be called before it starts a thread.
///
/// One pool for all threads. By default there is one for each, and what a thread has freed is kept in its pool.
#[cfg(target_env = "gnu")]
pub fn save() {
    // SAFETY: the function is for any moment and takes two numbers. A refusal changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Keeps images of this process's memory, which hold keys and passwords, off the disk, whatever takes them (a handler of
/// the distribution does not ask for a limit on core files), and other processes of its user out of it. Programs that it
/// starts, such as those of jobs, are as usual again.
pub fn seal() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::debug!(%error, "an image of this process's memory could be taken");
    }
}

/// Gives back what is not in use: free pages of the allocator, and the pages of programs and libraries.
pub(in super::super) fn release() {
    trim();
    // SAFETY: the callback fits the function, and does nothing that it forbids.
    unsafe { libc::dl_iterate_phdr(Some(release_code), std::ptr::null_mut()) };
}

/// glibc keeps what was freed, as for a program that is busy all the time.
#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: the function is for any moment, from any thread; only what is not in use is given back.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// Unmaps the pages of one program's or library's segments that are never written to. They stay in the page cache, from
/// where the next use maps them again, some microseconds a check-in; as long as this agent sleeps, the kernel need not
/// take them for used.
unsafe extern "C" fn release_code(info: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the C library hands out a valid description with as many headers as it says, for as long as this runs.
    let (base, headers) = unsafe {
        let info = &*info;
        let headers = match info.dlpi_phdr.is_null() {
            true => &[],
            false => std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)),
        };
        (info.dlpi_addr, headers)
    };
    for header in headers {
        // Relocations are written to segments that are writable by their header, whatever they are later.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let page = rustix::param::page_size() as u64;
        let (start, end) = (base + header.p_vaddr, base + header.p_vaddr + header.p_memsz);
        // Whole pages only: a part of one may belong to the segment beside.
        let (first, last) = (start.next_multiple_of(page), end / page * page);
        if first < last
            && let Ok(length) = usize::try_from(last - first)
        {
            // SAFETY: the range is mapped from a file and was never written to, so that its pages come back as they were.
            unsafe {
                libc::madvise(first as *mut c_void, length, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

/// Nothing: there is one pool already.
#[cfg(not(target_env = "gnu"))]
pub fn save() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident kB of executable file mappings.
    fn resident_code() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut kilobytes, mut is_code) = (0, false);
        for line in maps.lines() {
            match line.split_once(':') {
                Some(("Rss", size)) if is_code => {
                    kilobytes += size.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
                    is_code = false;
                }
                _ => is_code |= line.contains(" r-xp ") && line.contains('/'),
            }
        }
        kilobytes
    }

    #[test]
    fn code_that_sleeps_is_not_resident_and_runs_again() {
        let sum = |values: &[u64]| values.iter().sum::<u64>();
        let before = (resident_code(), sum(&[1, 2, 3]));
        release();
        let after = resident_code();
        assert!(after < before.0, "{after} kB of {} kB", before.0);
        assert_eq!(sum(&[1, 2, 3]), before.1);
    }

    #[test]
    fn no_image_is_taken_of_the_agent_but_of_what_it_starts() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("host::system::linux::memory::tests::child_seals_itself")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// In a process of its own, for it is the process that is sealed.
    #[test]
    #[ignore = "runs as a child of no_image_is_taken_of_the_agent_but_of_what_it_starts"]
    fn child_seals_itself() {
        if std::env::var_os("OCO_TEST_STARTED").is_some() {
            assert!(nix::sys::prctl::get_dumpable().unwrap());
            return;
        }
        seal();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        let started = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored"])
            .arg("host::system::linux::memory::tests::child_seals_itself")
            .env("OCO_TEST_STARTED", "1")
            .status();
        assert!(started.unwrap().success());
    }
}
