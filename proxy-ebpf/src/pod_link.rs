//! The datapath as the pod network's port.

use std::net::IpAddr;

use kedge_cni_api::{Error, PodLink};

use crate::Datapath;

fn failed(doing: String) -> impl FnOnce(crate::Error) -> Error {
    |error| {
        let mut cause = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(deeper) = source {
            cause = format!("{cause}: {deeper}");
            source = deeper.source();
        }
        Error::Failed { doing, cause }
    }
}

impl PodLink for Datapath {
    fn attach(&self, ifindex: u32, ips: &[IpAddr]) -> Result<(), Error> {
        self.add_pod(ifindex, ips).map_err(failed(format!("bring interface {ifindex} into the datapath")))
    }

    fn detach(&self, ifindex: u32, ips: &[IpAddr]) -> Result<(), Error> {
        self.remove_pod(ifindex, ips).map_err(failed(format!("take interface {ifindex} out of the datapath")))
    }

    fn retain(&self, pods: &[(u32, Vec<IpAddr>)]) -> Result<(), Error> {
        let read = self.pods().map_err(failed("read the datapath's pods".to_owned()))?;
        for (ip, ifindex) in read {
            let stays = pods.iter().any(|(index, ips)| *index == ifindex && ips.contains(&ip));
            if !stays {
                self.detach(ifindex, &[ip])?;
            }
        }
        Ok(())
    }
}
