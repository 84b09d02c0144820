//! Port: the Store trait with etcd semantics.
