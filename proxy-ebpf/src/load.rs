//! The committed object: read, loaded against pinned maps, its programs ready to be attached.

use std::path::{Path, PathBuf};

use aya::programs::{CgroupSockAddr, SchedClassifier};
use aya::{Ebpf, EbpfLoader};

use crate::Error;

/// Built from `bpf/` by `cargo xtask bpf`, which also keeps the hash of its sources beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/kedge.bpf.o");

/// Maps that user space reads or writes; the others are pinned all the same, so that flows survive the daemon.
const MAPS: &[&str] = &[
    "SVC", "LIST", "BACKENDS", "MAGLEV", "EP", "LOCAL", "UPLINK", "CONFIG", "CT", "AFF", "SOCKREV", "FRAG",
    "STATS",
];

pub const PACKET_PROGRAMS: &[&str] = &["pod_in", "pod_out", "up_in", "up_out"];
pub const SOCKET_PROGRAMS: &[&str] =
    &["connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];

/// Loads every program. Maps that are pinned below `pins` are taken over with their contents, others are made there.
pub fn load(pins: &Path) -> Result<Ebpf, Error> {
    // Kernels before 5.18 lack bpf_set_retval; there a refused connect reads EPERM instead of ECONNREFUSED.
    load_with(pins, 1).or_else(|_| load_with(pins, 0))
}

/// Loads every program with maps of its own, which go with it.
pub fn load_unpinned() -> Result<Ebpf, Error> {
    load_all(&[], 1).or_else(|_| load_all(&[], 0))
}

fn load_with(pins: &Path, has_set_retval: u8) -> Result<Ebpf, Error> {
    let paths: Vec<(&str, PathBuf)> = MAPS.iter().map(|name| (*name, pins.join(name))).collect();
    load_all(&paths, has_set_retval)
}

fn load_all(paths: &[(&str, PathBuf)], has_set_retval: u8) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
    for (name, path) in paths {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|cause| Error::Load { what: "the object".to_owned(), cause: Box::new(cause) })?;
    for name in PACKET_PROGRAMS {
        let program: &mut SchedClassifier = program(&mut ebpf, name)?;
        program.load().map_err(|cause| Error::Load { what: (*name).to_owned(), cause: Box::new(cause) })?;
    }
    for name in SOCKET_PROGRAMS {
        let program: &mut CgroupSockAddr = program(&mut ebpf, name)?;
        program.load().map_err(|cause| Error::Load { what: (*name).to_owned(), cause: Box::new(cause) })?;
    }
    Ok(ebpf)
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).expect("the object is ours and has every program we name");
    program.try_into().map_err(|cause| Error::Load { what: name.to_owned(), cause: Box::new(cause) })
}
