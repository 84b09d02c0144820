//! Namespaces, cgroups, packets; real.
