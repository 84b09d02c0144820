use kedge_proxy_maps::{Backend, ServiceKey, ServiceValue};

/// One write to the kernel's maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets or, with a zero `live`, clears a backend id.
    Backend {
        id: u32,
        value: Backend,
    },
    /// Writes backend ids into `LIST` from index `at`.
    List {
        at: u32,
        ids: Vec<u32>,
    },
    /// Writes a Maglev table into `MAGLEV` from index `at`.
    Maglev {
        at: u32,
        ids: Vec<u32>,
    },
    Service {
        key: ServiceKey,
        value: ServiceValue,
    },
    RemoveService {
        key: ServiceKey,
    },
}
