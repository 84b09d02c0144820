//! Starting a container or an exec, from the record to the running clone.
//!
//! Host-user containers are one clone. With a user namespace, and for every exec, a first stage enters the namespaces and
//! clones the second as its sibling (CLONE_PARENT), so that pause is the parent of every process it has to reap.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kedge_pause_wire::{ExecSpec, LaunchSpec, PidFrom, Step};
use kedge_sys::clone::{self, Forked, flags};
use kedge_sys::{Errno, namespace, process, socket};

use crate::child::{self, At, Failure, Mounts, Prepared, Stdio};
use crate::connection::take;
use crate::sandbox::Namespaces;

/// A clone on its way to execve.
pub struct Started {
    /// The first stage; it is the container's process unless the status socket names another.
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub status: OwnedFd,
    pub has_second_stage: bool,
}

/// Pause's ends of the container's streams.
#[derive(Default)]
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

type Descriptors = [Option<OwnedFd>];

struct Joined {
    unified: Option<OwnedFd>,
    procs: Vec<OwnedFd>,
}

fn take_cgroups(
    join: &kedge_pause_wire::CgroupJoin,
    descriptors: &mut Descriptors,
) -> Result<Joined, Failure> {
    let unified = join.unified.map(|index| take(descriptors, index)).transpose();
    let procs: Result<_, Errno> = join.procs.iter().map(|index| take(descriptors, *index)).collect();
    Ok(Joined { unified: unified.at(Step::Request)?, procs: procs.at(Step::Request)? })
}

fn dev_null() -> Result<OwnedFd, Errno> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(c"/dev/null", flags, rustix::fs::Mode::empty())
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

/// Pipes for a container without a terminal, owned by its user so that /dev/stdout can be opened again.
fn container_stdio(spec: &LaunchSpec, host_id: u32) -> Result<(Stdio, Ends), Errno> {
    if spec.process.tty {
        return Ok((Stdio { stdin: dev_null()?, stdout: dev_null()?, stderr: dev_null()? }, Ends::default()));
    }
    let own = |fd: &OwnedFd| {
        let uid = rustix::fs::Uid::from_raw(host_id.wrapping_add(spec.process.uid));
        rustix::fs::fchown(fd, Some(uid), None)
    };
    let ((out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?);
    own(&out_write)?;
    own(&err_write)?;
    let mut ends = Ends { stdin: None, stdout: Some(out_read), stderr: Some(err_read) };
    let stdin = if spec.stdin {
        let (read, write) = pipe()?;
        own(&read)?;
        ends.stdin = Some(write);
        read
    } else {
        dev_null()?
    };
    Ok((Stdio { stdin, stdout: out_write, stderr: err_write }, ends))
}

/// Starts a container. `target_pid` is the PID namespace of `LaunchSpec::pid_target`.
pub fn container(
    spec: &LaunchSpec,
    descriptors: &mut Descriptors,
    pod: &Namespaces,
    target_pid: Option<OwnedFd>,
) -> Result<(Started, Ends), Failure> {
    let cgroups = take_cgroups(&spec.cgroup, descriptors)?;
    let detached = spec.mounts.iter().map(|step| match step.source {
        kedge_pause_wire::MountSource::Detached => take(descriptors, step.descriptor).map(Some),
        kedge_pause_wire::MountSource::New => Ok(None),
    });
    let mounts = Mounts {
        spec,
        detached: detached.collect::<Result<_, _>>().at(Step::Request)?,
        root: take(descriptors, spec.root).at(Step::Request)?,
        null: take(descriptors, spec.null).at(Step::Request)?,
    };
    let (stdio, ends) = container_stdio(spec, pod.host_id).at(Step::Stdio)?;
    let prepared = Prepared::new(&spec.process);
    let (ours, theirs) = socket::pair().at(Step::Clone)?;
    let joined_pid = match spec.pid {
        PidFrom::Pod => Some(pod.pid.as_ref().ok_or(Errno::NOENT).at(Step::PidNamespace)?),
        PidFrom::Target => Some(target_pid.as_ref().ok_or(Errno::SRCH).at(Step::PidNamespace)?),
        PidFrom::Host | PidFrom::Container => None,
    };
    let plan = ContainerPlan { mounts: &mounts, prepared: &prepared, stdio: &stdio, cgroups: &cgroups, pod };
    let stage = Stage { status: theirs.as_fd(), joined_pid };
    let started = if pod.user.is_some() { plan.two_stages(&stage) } else { plan.one_stage(&stage) };
    let (pid, pidfd) = started?;
    Ok((Started { pid, pidfd, status: ours, has_second_stage: pod.user.is_some() }, ends))
}

struct ContainerPlan<'a> {
    mounts: &'a Mounts<'a>,
    prepared: &'a Prepared<'a>,
    stdio: &'a Stdio,
    cgroups: &'a Joined,
    pod: &'a Namespaces,
}

struct Stage<'a> {
    status: BorrowedFd<'a>,
    joined_pid: Option<&'a OwnedFd>,
}

impl ContainerPlan<'_> {
    fn own_namespaces(&self) -> u64 {
        match self.mounts.spec.pid {
            PidFrom::Container => flags::NEWNS | flags::NEWPID,
            PidFrom::Host | PidFrom::Pod | PidFrom::Target => flags::NEWNS,
        }
    }

    fn one_stage(&self, stage: &Stage<'_>) -> Result<(i32, OwnedFd), Failure> {
        let home = match stage.joined_pid {
            Some(joined) => {
                let home = namespace::open("self", "pid").at(Step::PidNamespace)?;
                namespace::enter(joined.as_fd(), flags::NEWPID).at(Step::PidNamespace)?;
                Some(home)
            }
            None => None,
        };
        let cgroup = self.cgroups.unified.as_ref().map(AsFd::as_fd);
        // SAFETY: the child makes system calls on prepared values only, and ends in execve or `_exit`.
        let forked = unsafe { clone::fork(self.own_namespaces(), cgroup) };
        if matches!(forked, Ok(Forked::Child)) {
            self.in_child(stage.status);
        }
        if let Some(home) = home {
            namespace::enter(home.as_fd(), flags::NEWPID)
                .expect("a process may return to its own PID namespace");
        }
        into_parent(forked)
    }

    fn two_stages(&self, stage: &Stage<'_>) -> Result<(i32, OwnedFd), Failure> {
        let cgroup = self.cgroups.unified.as_ref().map(AsFd::as_fd);
        // SAFETY: as above.
        let forked = unsafe { clone::fork(0, cgroup) };
        if matches!(forked, Ok(Forked::Child)) {
            let failure = match self.first_stage(stage) {
                Ok(()) => process::exit_now(0),
                Err(failure) => failure,
            };
            child::fail(stage.status, &failure);
        }
        into_parent(forked)
    }

    fn first_stage(&self, stage: &Stage<'_>) -> Result<(), Failure> {
        child::settle(&self.cgroups.procs, self.mounts.spec.process.oom_score_adj)?;
        if let Some(user) = &self.pod.user {
            namespace::enter(user.as_fd(), flags::NEWUSER).at(Step::UserNamespace)?;
        }
        process::set_user(0, 0, &[]).at(Step::User)?;
        child::enter_shared(&self.pod.shared())?;
        if let Some(joined) = stage.joined_pid {
            namespace::enter(joined.as_fd(), flags::NEWPID).at(Step::PidNamespace)?;
        }
        // SAFETY: as above.
        match unsafe { clone::fork(self.own_namespaces() | flags::PARENT, None) }.at(Step::Clone)? {
            Forked::Child => self.finish(stage.status),
            Forked::Parent { pid, pidfd } => child::report_pid(stage.status, pid, &pidfd),
        }
    }

    fn in_child(&self, status: BorrowedFd<'_>) -> ! {
        let entered = child::settle(&self.cgroups.procs, self.mounts.spec.process.oom_score_adj)
            .and_then(|()| child::enter_shared(&self.pod.shared()));
        match entered {
            Ok(()) => self.finish(status),
            Err(failure) => child::fail(status, &failure),
        }
    }

    fn finish(&self, status: BorrowedFd<'_>) -> ! {
        let failure = match self.furnish(status) {
            Ok(None) => child::become_process(self.prepared, self.stdio),
            Ok(Some(stdio)) => child::become_process(self.prepared, &stdio),
            Err(failure) => failure,
        };
        child::fail(status, &failure)
    }

    fn furnish(&self, status: BorrowedFd<'_>) -> Result<Option<Stdio>, Failure> {
        if self.mounts.spec.cgroup_namespace {
            namespace::unshare(flags::NEWCGROUP).at(Step::Namespaces)?;
        }
        child::build_root(self.mounts, status)?.map(terminal_stdio).transpose()
    }
}

fn terminal_stdio(slave: OwnedFd) -> Result<Stdio, Failure> {
    let copy = || slave.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE).at(Step::Terminal);
    Ok(Stdio { stdin: copy()?, stdout: copy()?, stderr: slave })
}

fn into_parent(forked: Result<Forked, Errno>) -> Result<(i32, OwnedFd), Failure> {
    match forked.at(Step::Clone)? {
        Forked::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Forked::Child => process::exit_now(127),
    }
}

/// Starts a process in a running container: namespaces by its pidfd, and no mounts.
pub fn exec(
    spec: &ExecSpec,
    descriptors: &mut Descriptors,
    container: BorrowedFd<'_>,
    has_user_namespace: bool,
) -> Result<Started, Failure> {
    let cgroups = take_cgroups(&spec.cgroup, descriptors)?;
    let mut stream = |index: Option<u32>| match index {
        Some(index) => take(descriptors, index),
        None => dev_null(),
    };
    let stdio = Stdio {
        stdin: stream(spec.stdin).at(Step::Stdio)?,
        stdout: stream(spec.stdout).at(Step::Stdio)?,
        stderr: stream(spec.stderr).at(Step::Stdio)?,
    };
    let prepared = Prepared::new(&spec.process);
    let (ours, theirs) = socket::pair().at(Step::Clone)?;
    let mut kinds =
        flags::NEWNS | flags::NEWPID | flags::NEWNET | flags::NEWIPC | flags::NEWUTS | flags::NEWCGROUP;
    if has_user_namespace {
        kinds |= flags::NEWUSER;
    }
    let unified = cgroups.unified.as_ref().map(AsFd::as_fd);
    // SAFETY: the child makes system calls on prepared values only, and ends in execve or `_exit`.
    let forked = unsafe { clone::fork(0, unified) };
    if matches!(forked, Ok(Forked::Child)) {
        let status = theirs.as_fd();
        let entered = child::settle(&cgroups.procs, spec.process.oom_score_adj)
            .and_then(|()| namespace::enter(container, kinds).at(Step::ContainerGone))
            .and_then(|()| exec_second_stage(&prepared, &stdio, status));
        match entered {
            Ok(()) => process::exit_now(0),
            Err(failure) => child::fail(status, &failure),
        }
    }
    let (pid, pidfd) = into_parent(forked)?;
    Ok(Started { pid, pidfd, status: ours, has_second_stage: true })
}

fn exec_second_stage(prepared: &Prepared<'_>, stdio: &Stdio, status: BorrowedFd<'_>) -> child::Steps {
    // SAFETY: as above.
    match unsafe { clone::fork(flags::PARENT, None) }.at(Step::Clone)? {
        Forked::Parent { pid, pidfd } => child::report_pid(status, pid, &pidfd),
        Forked::Child => {
            let failure = if prepared.process.tty {
                match exec_terminal(status) {
                    Ok(stdio) => child::become_process(prepared, &stdio),
                    Err(failure) => failure,
                }
            } else {
                child::become_process(prepared, stdio)
            };
            child::fail(status, &failure)
        }
    }
}

fn exec_terminal(status: BorrowedFd<'_>) -> Result<Stdio, Failure> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let root = rustix::fs::open(c"/", flags, rustix::fs::Mode::empty()).at(Step::Terminal)?;
    terminal_stdio(child::open_terminal(root.as_fd(), status).at(Step::Terminal)?)
}
