//! Changes to map writes. Neighbouring changes of one kind travel in one batch call, in the order the core gave.

use kedge_proxy_core::Change;
use kedge_sys::bpf::Map;
use zerocopy::IntoBytes;

use crate::Error;
use crate::datapath::Maps;
use crate::error::Doing;

/// Keys and values of one batch.
#[derive(Default)]
struct Batch {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Batch {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
    }

    fn array(&mut self, at: u32, values: &[u32]) {
        for (offset, value) in values.iter().enumerate() {
            self.push((at + offset as u32).as_bytes(), value.as_bytes());
        }
    }
}

pub(crate) fn apply(maps: &Maps, changes: &[Change]) -> Result<(), Error> {
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let same =
            rest.iter().take_while(|change| std::mem::discriminant(*change) == std::mem::discriminant(first));
        let (run, after) = rest.split_at(same.count());
        write(maps, run)?;
        rest = after;
    }
    Ok(())
}

/// Writes a run of one kind of change.
fn write(maps: &Maps, run: &[Change]) -> Result<(), Error> {
    let mut batch = Batch::default();
    let mut target: (&Map, &str) = (&maps.services, "SVC");
    for change in run {
        match change {
            Change::Backend { id, value } => {
                target = (&maps.backends, "BACKENDS");
                batch.push(id.as_bytes(), value.as_bytes());
            }
            Change::List { at, ids } => {
                target = (&maps.list, "LIST");
                batch.array(*at, ids);
            }
            Change::Maglev { at, ids } => {
                target = (&maps.maglev, "MAGLEV");
                batch.array(*at, ids);
            }
            Change::Service { key, value } => batch.push(key.as_bytes(), value.as_bytes()),
            Change::RemoveService { key } => {
                maps.services.delete(key.as_bytes()).doing(|| "delete from SVC".to_owned())?;
            }
        }
    }
    let (map, name) = target;
    map.update_batch(&batch.keys, &batch.values).doing(|| format!("write {} elements to {name}", run.len()))
}
