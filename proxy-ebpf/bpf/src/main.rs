//! The service datapath in the kernel. Start reading at [`pod_in`]; `flow` explains what a flow is.
//!
//! | program | hook | does |
//! |---|---|---|
//! | `pod_in` | tcx ingress on the host end of each pod's veth | everything a pod sends |
//! | `pod_out` | tcx egress there | replies that reach the pod through the host's stack |
//! | `up_in` | tcx ingress on uplinks | NodePorts and external addresses from outside, replies to masqueraded flows |
//! | `up_out` | tcx egress there | replies of host-network backends to clients outside |
//! | `connect*`, `sendmsg*`, `recvmsg*`, `getpeername*` | cgroup | processes of the node itself |
//!
//! Whatever is not ours passes unchanged: the uplink may be somebody's lifeline.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod flow;
mod icmp;
mod maps;
mod packet;
mod pod;
mod refuse;
mod route;
mod service;
mod sock;
mod uplink;

use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::macros::{cgroup_sock_addr, classifier};
use aya_ebpf::programs::{SockAddrContext, TcContext};

pub const PASS: i32 = TC_ACT_OK as i32;
pub const DROP: i32 = TC_ACT_SHOT as i32;

#[classifier]
pub fn pod_in(ctx: TcContext) -> i32 {
    pod::ingress(&ctx)
}

#[classifier]
pub fn pod_out(ctx: TcContext) -> i32 {
    pod::egress(&ctx)
}

#[classifier]
pub fn up_in(ctx: TcContext) -> i32 {
    uplink::ingress(&ctx)
}

#[classifier]
pub fn up_out(ctx: TcContext) -> i32 {
    pod::egress(&ctx)
}

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    sock::translate(&ctx, false)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    sock::translate(&ctx, true)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    sock::translate(&ctx, false)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    sock::translate(&ctx, true)
}

#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    sock::untranslate(&ctx, false)
}

#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    sock::untranslate(&ctx, true)
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    sock::untranslate(&ctx, false)
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    sock::untranslate(&ctx, true)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The helpers we call are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
