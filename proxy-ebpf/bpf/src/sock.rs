//! Socket programs: processes in the node's own network namespace name a service and are connected to a backend, before
//! any packet exists. Every other namespace of the machine passes through untouched; its packets are translated at its
//! veth, or are some other node's business.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval};
use aya_ebpf::programs::SockAddrContext;
use kedge_proxy_maps::*;

use crate::maps::{CONFIG, SOCKREV, count, now_seconds};
use crate::service::{Choice, find, pick, random};

const ALLOW: i32 = 1;
const DENY: i32 = 0;
const ECONNREFUSED: i32 = 111;

/// Set to 0 by the loader on kernels before 5.18, where a refusal reads "operation not permitted".
#[unsafe(no_mangle)]
static HAS_SET_RETVAL: u8 = 1;

/// A socket address as the kernel hands it over, of either family.
struct Name {
    address: Address,
    port: u16,
    protocol: u32,
}

#[inline(always)]
fn read(ctx: &SockAddrContext, is_v6: bool) -> Name {
    // SAFETY: the context is the program's own and holds these fields at every sock_addr hook.
    let sock_addr = unsafe { &*ctx.sock_addr };
    let address = if is_v6 {
        let words = sock_addr.user_ip6;
        Address {
            words: [words[0], words[1], words[2], words[3]],
        }
    } else {
        Address::v4(sock_addr.user_ip4)
    };
    Name {
        address,
        port: sock_addr.user_port as u16,
        protocol: sock_addr.protocol,
    }
}

/// A family mismatch (an IPv6 socket sent to an IPv4 backend of another form) cannot arise: services keep to their family.
#[inline(always)]
fn write(ctx: &SockAddrContext, is_v6: bool, address: &Address, port: u16) {
    // SAFETY: as in `read`; the verifier allows these writes at these hooks.
    let sock_addr = unsafe { &mut *ctx.sock_addr };
    if is_v6 {
        sock_addr.user_ip6[0] = address.words[0];
        sock_addr.user_ip6[1] = address.words[1];
        sock_addr.user_ip6[2] = address.words[2];
        sock_addr.user_ip6[3] = address.words[3];
    } else {
        sock_addr.user_ip4 = address.words[3];
    }
    sock_addr.user_port = port.into();
}

#[inline(always)]
fn is_ours(ctx: &SockAddrContext) -> bool {
    let Some(config) = CONFIG.get(0) else { return false };
    // SAFETY: the context is the program's own.
    config.netns_cookie != 0 && unsafe { bpf_get_netns_cookie(ctx.as_ptr()) } == config.netns_cookie
}

#[inline(always)]
fn socket_key(ctx: &SockAddrContext, address: &Address, port: u16, protocol: u32) -> SocketKey {
    // SAFETY: the context is the program's own.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    SocketKey {
        cookie,
        address: *address,
        port,
        reserved: 0,
        protocol,
    }
}

/// connect and sendmsg: from the service's address to a backend's.
#[inline(always)]
pub fn translate(ctx: &SockAddrContext, is_v6: bool) -> i32 {
    if !is_ours(ctx) {
        return ALLOW;
    }
    let name = read(ctx, is_v6);
    let Some(service) = find(&name.address, name.port, name.protocol, scope::INTERNAL, true) else {
        return ALLOW;
    };
    match pick(&service, &Address::UNSPECIFIED, random(), now_seconds()) {
        Choice::Refuse | Choice::Drop => {
            count(stat::REFUSED);
            deny()
        }
        Choice::Backend { backend, .. } => {
            let key = socket_key(ctx, &backend.address, backend.port, name.protocol);
            let peer = SocketPeer {
                address: name.address,
                port: name.port,
                reserved: 0,
            };
            let _ = SOCKREV.insert(key, peer, 0);
            write(ctx, is_v6, &backend.address, backend.port);
            ALLOW
        }
    }
}

#[inline(always)]
fn deny() -> i32 {
    // SAFETY: a plain read; volatile, because the loader may have written another value.
    if unsafe { core::ptr::read_volatile(&raw const HAS_SET_RETVAL) } != 0 {
        // SAFETY: the helper takes a plain number.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    DENY
}

/// recvmsg and getpeername: back to the address that the process named.
#[inline(always)]
pub fn untranslate(ctx: &SockAddrContext, is_v6: bool) -> i32 {
    if !is_ours(ctx) {
        return ALLOW;
    }
    let name = read(ctx, is_v6);
    let key = socket_key(ctx, &name.address, name.port, name.protocol);
    // SAFETY: the value is copied at once.
    if let Some(peer) = unsafe { SOCKREV.get(key) }.copied() {
        write(ctx, is_v6, &peer.address, peer.port);
    }
    ALLOW
}
