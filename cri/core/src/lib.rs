//! Computes LaunchSpec, seccomp trees, image layer plans.
