//! What sysctl(3) tells.

use std::io;
use std::time::Duration;

/// Longest arguments of a program with its environment, bytes; the system's own limit.
const ARGUMENTS: usize = 1 << 20;

/// When the system was started, since the epoch.
pub(super) fn boot_time() -> io::Result<Duration> {
    // A `struct timeval`: seconds in 64 bits, microseconds in 32, and as many to fill it up.
    let mut time = [0; size_of::<libc::timeval>()];
    let length = read(&mut [libc::CTL_KERN, libc::KERN_BOOTTIME], &mut time)?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, u0, u1, u2, u3, ..] = time;
    let seconds = i64::from_ne_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let micros = i32::from_ne_bytes([u0, u1, u2, u3]);
    match (length, u64::try_from(seconds), u32::try_from(micros)) {
        (16, Ok(seconds), Ok(micros @ 0..1_000_000)) => Ok(Duration::new(seconds, micros * 1000)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the system's start has no time",
        )),
    }
}

/// A process's arguments, each ended by a NUL byte.
pub(in super::super) fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let mut buffer = vec![0; ARGUMENTS];
    let length = read(&mut [libc::CTL_KERN, libc::KERN_PROCARGS2, pid], &mut buffer)?;
    buffer.truncate(length);
    super::super::unix::other_agent::arguments(&buffer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a value into `buffer`; its length, bytes.
fn read(name: &mut [libc::c_int], buffer: &mut [u8]) -> io::Result<usize> {
    let names = libc::c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let mut length = buffer.len();
    // SAFETY: both pointers are to memory of the named lengths, and nothing is set.
    let result = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            names,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if result == 0 {
        Ok(length)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_called_as_it_was_started() {
        let own = command_line(std::process::id()).unwrap();
        let expected: Vec<u8> = std::env::args()
            .flat_map(|text| (text + "\0").into_bytes())
            .collect();
        assert_eq!(own, expected);
    }

    #[test]
    fn the_system_was_started_before_this_process() {
        assert!(super::super::uptime().unwrap() > Duration::ZERO);
    }
}
