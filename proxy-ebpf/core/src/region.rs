//! Regions of an array map: first fit, and a freed region rests before it is used again, because a program may still read
//! the list that was just replaced.

use std::collections::{BTreeMap, VecDeque};

/// How long a freed region rests. A program run takes microseconds; a second is for ever.
const REST_MS: u64 = 1000;

#[derive(Debug, Clone)]
pub struct Regions {
    /// Free runs: start to length.
    free: BTreeMap<u32, u32>,
    /// Freed runs: until when they rest, start, length.
    resting: VecDeque<(u64, u32, u32)>,
}

impl Regions {
    pub fn new(size: u32) -> Regions {
        Regions { free: BTreeMap::from([(0, size)]), resting: VecDeque::new() }
    }

    /// Takes a run of `length`; `None` if no gap is long enough. No length is a run at 0 that nobody owns.
    pub fn take(&mut self, length: u32, now_ms: u64) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        self.wake(now_ms);
        let (&start, &run) = self.free.iter().find(|(_, run)| **run >= length)?;
        self.free.remove(&start);
        if run > length {
            self.free.insert(start + length, run - length);
        }
        Some(start)
    }

    /// Marks a run as taken that was found in the maps at start; false if it overlaps another or leaves the array.
    pub fn claim(&mut self, start: u32, length: u32) -> bool {
        if length == 0 {
            return true;
        }
        let Some((&free, &run)) = self.free.range(..=start).next_back() else {
            return false;
        };
        let Some(end) = start.checked_add(length).filter(|end| *end <= free + run) else {
            return false;
        };
        self.free.remove(&free);
        if start > free {
            self.free.insert(free, start - free);
        }
        if free + run > end {
            self.free.insert(end, free + run - end);
        }
        true
    }

    pub fn give_back(&mut self, start: u32, length: u32, now_ms: u64) {
        if length != 0 {
            self.resting.push_back((now_ms + REST_MS, start, length));
        }
    }

    fn wake(&mut self, now_ms: u64) {
        while let Some(&(until, start, length)) = self.resting.front() {
            if until > now_ms {
                return;
            }
            self.resting.pop_front();
            self.insert(start, length);
        }
    }

    /// Joins a run with its free neighbours.
    fn insert(&mut self, mut start: u32, mut length: u32) {
        if let Some(after) = self.free.remove(&(start + length)) {
            length += after;
        }
        if let Some((&before, &run)) = self.free.range(..start).next_back()
            && before + run == start
        {
            self.free.remove(&before);
            start = before;
            length += run;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_regions_rest_and_join() {
        let mut regions = Regions::new(10);
        assert_eq!(regions.take(4, 0), Some(0));
        assert_eq!(regions.take(6, 0), Some(4));
        assert_eq!(regions.take(1, 0), None);
        regions.give_back(0, 4, 0);
        regions.give_back(4, 6, 500);
        assert_eq!(regions.take(1, 999), None);
        assert_eq!(regions.take(5, 1000), None);
        assert_eq!(regions.take(10, 1500), Some(0));
    }

    #[test]
    fn claims_split_what_is_free() {
        let mut regions = Regions::new(10);
        assert!(regions.claim(3, 2));
        for (start, length, possible) in
            [(4, 1, false), (9, 2, false), (0, 4, false), (u32::MAX, 2, false), (5, 5, true)]
        {
            assert_eq!(regions.claim(start, length), possible, "{start}+{length}");
        }
        assert_eq!(regions.take(3, 0), Some(0));
        assert_eq!(regions.take(1, 0), None);
    }
}
