//! Maglev tables (Eisenbud et al., NSDI 2016, section 3.4): nodes that do not know of each other choose the same backend
//! for a client, and a backend that goes moves hardly any other backend's clients.

use crate::BackendAddress;

/// Primes, so that every skip visits every slot. The largest keeps one service's table at 64 kB.
const SIZES: [u32; 7] = [251, 509, 1021, 2039, 4093, 8191, 16381];

/// A hundred slots for each backend keep the shares within about one percent.
const SLOTS_PER_BACKEND: usize = 100;

pub fn size(backends: usize) -> u32 {
    let wanted = backends * SLOTS_PER_BACKEND;
    SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

/// For each slot the index of its backend. `backends` must not be empty.
pub fn table(backends: &[BackendAddress]) -> Vec<usize> {
    let size = u64::from(size(backends.len()));
    let mut turns: Vec<(u64, u64)> =
        backends.iter().map(|backend| (hash(backend, 0) % size, hash(backend, 1) % (size - 1) + 1)).collect();
    let mut slots: Vec<Option<usize>> = vec![None; size as usize];
    let mut filled = 0;
    'turns: loop {
        for (backend, (next, skip)) in turns.iter_mut().enumerate() {
            while slots[*next as usize].is_some() {
                *next = (*next + *skip) % size;
            }
            slots[*next as usize] = Some(backend);
            filled += 1;
            if filled == size {
                break 'turns;
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// FNV-1a over the address and port, finished so that near addresses land far apart. Equal on every machine.
fn hash((address, port): &BackendAddress, seed: u8) -> u64 {
    let words = address.words.iter().flat_map(|word| word.to_ne_bytes());
    let bytes = words.chain(port.to_ne_bytes()).chain([seed]);
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    state ^= state >> 32;
    state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^ (state >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_proxy_maps::Address;

    fn backends(count: u8) -> Vec<BackendAddress> {
        (0..count).map(|last| (Address::from_v4_octets([10, 244, 0, last]), 80)).collect()
    }

    #[test]
    fn shares_are_even() {
        let table = table(&backends(10));
        assert_eq!(table.len(), 1021);
        for backend in 0..10 {
            let share = table.iter().filter(|slot| **slot == backend).count();
            assert!((100..=105).contains(&share), "backend {backend} has {share} of 1021");
        }
    }

    #[test]
    fn a_removed_backend_moves_few_of_the_others() {
        let (before, after) = (table(&backends(10)), table(&backends(9)));
        let moved = before.iter().zip(&after).filter(|(old, new)| **old != 9 && old != new).count();
        assert!(moved < 1021 / 15, "{moved} of 1021 slots moved");
    }
}
