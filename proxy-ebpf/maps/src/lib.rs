//! One definition of each eBPF map key and value (no_std).
