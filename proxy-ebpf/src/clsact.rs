//! Attaching to pods' links, and to uplinks below kernel 6.6: a clsact qdisc on the interface and one direct-action filter for each direction, written as
//! rtnetlink messages by hand, because the filter's options (a program descriptor) have no form in the netlink crates.
//! Filters live with their interface, so there is nothing to pin.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use kedge_sys::bpf::AttachType;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 3;
const PRIORITY: u32 = 50;
const NLMSG_ERROR: u16 = 2;

/// Attaches or atomically replaces the program of one direction.
pub fn attach(ifindex: u32, at: AttachType, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let socket = open()?;
    let clsact = message(ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0, &attribute(TCA_KIND, b"clsact\0"));
    match request(&socket, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &clsact) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut options = attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    options.extend(attribute(TCA_BPF_NAME, format!("kedge_{name}\0").as_bytes()));
    options.extend(attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()));
    let mut attributes = attribute(TCA_KIND, b"bpf\0");
    attributes.extend(attribute(TCA_OPTIONS, &options));
    let parent = if at == AttachType::TcxEgress { EGRESS } else { INGRESS };
    let info = PRIORITY << 16 | u32::from(ETH_P_ALL.to_be());
    let filter = message(ifindex, 1, parent, info, &attributes);
    request(&socket, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, &filter)
}

/// Removes the qdisc and both filters with it.
pub fn detach(ifindex: u32) -> io::Result<()> {
    let clsact = message(ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0, &attribute(TCA_KIND, b"clsact\0"));
    match request(&open()?, RTM_DELQDISC, 0, &clsact) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open() -> io::Result<rustix::fd::OwnedFd> {
    // No protocol means NETLINK_ROUTE, which is 0.
    Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// `struct tcmsg` and its attributes.
fn message(ifindex: u32, handle: u32, parent: u32, info: u32, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for word in [ifindex, handle, parent, info] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(attributes);
    bytes
}

/// An attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len() + 3);
    bytes.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends one request and reads its acknowledgement.
fn request(socket: &impl AsFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend_from_slice(&((16 + body.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(body);
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(socket, &bytes, SendFlags::empty(), &kernel)?;
    let mut answer = [0u8; 4096];
    let (length, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
    acknowledgement(&answer[..length])
}

/// An acknowledgement is an error message with code 0.
fn acknowledgement(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed netlink acknowledgement");
    let kind = answer.get(4..6).ok_or_else(malformed)?;
    let code = answer.get(16..20).ok_or_else(malformed)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) != NLMSG_ERROR {
        return Err(malformed());
    }
    match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
        0 => Ok(()),
        negative => Err(io::Error::from_raw_os_error(-negative)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_but_not_their_length() {
        assert_eq!(attribute(1, b"bpf\0x"), [9, 0, 1, 0, b'b', b'p', b'f', 0, b'x', 0, 0, 0]);
    }

    #[test]
    fn acknowledgements_carry_errno() {
        let with = |code: i32| {
            let mut bytes = vec![0; 4];
            bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes.resize(16, 0);
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert!(acknowledgement(&with(0)).is_ok());
        assert_eq!(acknowledgement(&with(-19)).unwrap_err().raw_os_error(), Some(19));
        assert!(acknowledgement(&[1, 2, 3]).is_err());
    }
}
