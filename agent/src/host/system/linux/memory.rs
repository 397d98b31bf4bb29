//! How the C library's allocator deals with memory. glibc's is made for programs that are busy all the time; other
//! libraries have nothing to set.

/// Sees to it that this process takes little memory. To be called before it starts a thread.
///
/// One pool for all threads. By default there is one for each, and what a thread has freed is kept in its pool.
#[cfg(target_env = "gnu")]
pub fn save() {
    // SAFETY: the function is for any moment and takes two numbers. A refusal changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives all free pages back to the system.
#[cfg(target_env = "gnu")]
pub(super) fn release() {
    // SAFETY: the function is for any moment, from any thread; only what is not in use is given back.
    unsafe { libc::malloc_trim(0) };
}

/// Nothing: there is one pool already.
#[cfg(not(target_env = "gnu"))]
pub fn save() {}

#[cfg(not(target_env = "gnu"))]
pub(super) fn release() {}
