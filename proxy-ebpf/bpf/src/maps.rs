//! The maps. Their layouts are in `kedge_proxy_maps`; who writes which:
//! user space `SVC LIST BACKENDS MAGLEV EP LOCAL UPLINK CONFIG`, the programs `CT AFF SOCKREV FRAG STATS`.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use kedge_proxy_maps::*;

use crate::packet::Packet;

#[map]
pub static SVC: HashMap<ServiceKey, ServiceValue> = HashMap::with_max_entries(SERVICES_MAX, 0);
#[map]
pub static LIST: Array<u32> = Array::with_max_entries(LIST_MAX, 0);
#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(BACKENDS_MAX, 0);
#[map]
pub static MAGLEV: Array<u32> = Array::with_max_entries(MAGLEV_MAX, 0);
#[map]
pub static EP: HashMap<Address, Endpoint> = HashMap::with_max_entries(ENDPOINTS_MAX, 0);
/// The node's own addresses; the value is unused.
#[map]
pub static LOCAL: HashMap<Address, u32> = HashMap::with_max_entries(LOCALS_MAX, 0);
#[map]
pub static UPLINK: HashMap<u32, Uplink> = HashMap::with_max_entries(UPLINKS_MAX, 0);
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
pub static CT: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(FLOWS_MAX, 0);
#[map]
pub static AFF: LruHashMap<AffinityKey, Affinity> = LruHashMap::with_max_entries(AFFINITIES_MAX, 0);
#[map]
pub static SOCKREV: LruHashMap<SocketKey, SocketPeer> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
#[map]
pub static FRAG: LruHashMap<FragmentKey, FragmentPorts> = LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(stat::COUNT, 0);

/// What a program works on. It lives in a map, not on the stack, for two reasons: the frames of nested functions must fit
/// in 512 bytes together, and the verifier knows nothing of values that went through a map, so that it walks what follows
/// once and not once for each way of parsing a packet.
pub struct Scratch {
    pub packet: Packet,
    pub service: ServiceValue,
    pub flow: Flow,
    pub reply: Flow,
    pub partner: FlowKey,
    /// The interface where the packet arrived.
    pub ifindex: u32,
    pub now: u32,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch memory; no program of ours interrupts another on the same CPU.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the one element exists, and is this CPU's alone until the program ends.
    Some(unsafe { &mut *scratch })
}

#[inline(always)]
pub fn count(index: u32) {
    if let Some(counter) = STATS.get_ptr_mut(index) {
        // SAFETY: the element lives as long as the map, and no other program runs on this CPU meanwhile.
        unsafe { *counter += 1 };
    }
}

/// Seconds since boot; the coarse clock costs a load.
#[inline(always)]
pub fn now_seconds() -> u32 {
    // SAFETY: the helper takes nothing.
    (unsafe { aya_ebpf::helpers::bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}

#[inline(always)]
pub fn is_local(address: &Address) -> bool {
    // SAFETY: the value is not read.
    unsafe { LOCAL.get(address) }.is_some()
}
