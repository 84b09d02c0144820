//! Developer verbs: tidy, dist, lab, sim, round, bench.

fn main() {}
