//! Scheduling decisions as a pure function of a snapshot.
