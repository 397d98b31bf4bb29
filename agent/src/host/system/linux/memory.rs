//! What this process takes of the computer's memory while it has nothing to do.

use std::ffi::{c_int, c_void};

/// Sees to it that this process takes little memory. To be called before it starts a thread.
///
/// One pool for all threads. By default there is one for each, and what a thread has freed is kept in its pool.
#[cfg(target_env = "gnu")]
pub fn save() {
    // SAFETY: the function is for any moment and takes two numbers. A refusal changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives back what is not in use: free pages of the allocator, and the pages of programs and libraries.
pub(super) fn release() {
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
        if first < last {
            // SAFETY: the range is mapped from a file and was never written to, so that its pages come back as they were.
            unsafe {
                libc::madvise(first as *mut c_void, (last - first) as usize, libc::MADV_DONTNEED);
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
    use std::collections::BTreeMap;

    /// Resident kB of read-only and executable file mappings, by file.
    fn resident_code() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut code = BTreeMap::new();
        let mut file = None;
        for line in maps.lines() {
            match line.split_once(':') {
                Some(("Rss", size)) => {
                    if let Some(name) = file.take() {
                        let kilobytes: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
                        *code.entry(name).or_insert(0) += kilobytes;
                    }
                }
                _ if line.contains(" r-xp ") && line.contains('/') => file = Some(line.to_owned()),
                _ => {}
            }
        }
        code.values().sum()
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
}
