//! The system calls that the server is left, by seccomp. See: Linux, Documentation/userspace-api/seccomp_filter.rst.
//!
//! Which they are was seen with strace over all tests, and read in what may come later: an abort, a backtrace, a log
//! that ends.

use libc::{AF_UNIX, CLONE_THREAD, ENOSYS, FIONBIO, PR_SET_NAME, PROT_EXEC};
use rustix::ioctl::opcode;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;
use std::process;

/// Calls with any arguments.
const ANY: &[i64] = &[
    // Files, sockets and events that are open, or that landlock allows to be opened.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_eventfd2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, users and time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // The end of a process that is a VM.
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
];

/// Calls that later architectures do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[libc::SYS_poll, libc::SYS_readlink, libc::SYS_time, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// An option of prctl: the auxiliary vector. See: Linux, include/uapi/linux/prctl.h.
const PR_GET_AUXV: i32 = 0x4155_5856;

/// Commands of the server's descriptors: not to wait, and those of a tap. See: Linux, include/uapi/linux/if_tun.h.
const COMMANDS: [u32; 6] = [
    FIONBIO as u32,
    opcode::write::<i32>(b'T', 202), // TUNSETIFF
    opcode::read::<u32>(b'T', 207),  // TUNGETFEATURES
    opcode::write::<u32>(b'T', 208), // TUNSETOFFLOAD
    opcode::read::<u32>(b'T', 210),  // TUNGETIFF
    opcode::write::<i32>(b'T', 216), // TUNSETVNETHDRSZ
];

/// Restricts all threads of this process, for good. Another call than those that are left ends the process by SIGSYS.
pub fn restrict() -> Result<(), Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Backend)?;
    // The arguments of clone3 are in memory, where no filter sees them. Without it the C library calls clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let refused = SeccompAction::Errno(ENOSYS as u32);
    let clone3 = program(SeccompFilter::new(clone3, SeccompAction::Allow, refused, arch))?;
    let left = SeccompFilter::new(rules()?, SeccompAction::KillProcess, SeccompAction::Allow, arch);
    let left = program(left)?;
    apply_filter_all_threads(&clone3)?;
    apply_filter_all_threads(&left)
}

fn program(filter: Result<SeccompFilter, BackendError>) -> Result<BpfProgram, Error> {
    Ok(filter?.try_into()?)
}

/// The calls that are left.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    // No list of rules is any argument. The other filter answers to clone3.
    let any = ANY.iter().chain(OLD).chain(&[libc::SYS_clone3]).map(|&call| (call, Vec::new()));
    let mut rules: BTreeMap<_, _> = any.collect();
    // Threads, and no processes.
    let thread = CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, Qword, MaskedEq(thread), thread)?]);
    // Memory from which nothing is executed.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![when(2, Qword, MaskedEq(PROT_EXEC as u64), 0)?]);
    }
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![when(0, Dword, Eq, AF_UNIX as u64)?]);
    }
    let commands: Result<_, _> = COMMANDS.iter().map(|&command| when(1, Dword, Eq, command.into())).collect();
    rules.insert(libc::SYS_ioctl, commands?);
    // An abort signals its own process.
    // The question whether a process may be signalled at all.
    rules.insert(libc::SYS_kill, vec![when(1, Dword, Eq, 0)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, Dword, Eq, process::id().into())?]);
    // The name of a thread, and where the kernel's clock is found.
    let options: Result<_, _> = [PR_SET_NAME, PR_GET_AUXV].iter().map(|&it| when(0, Dword, Eq, it as u64)).collect();
    rules.insert(libc::SYS_prctl, options?);
    Ok(rules)
}

/// A call is left when argument `at` is as `op` says of `value`.
fn when(at: u8, len: SeccompCmpArgLen, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(at, len, op, value)?])
}
