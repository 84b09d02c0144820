//! Plan(spec, observed, now) for pods; probes, volumes and status as decisions.
