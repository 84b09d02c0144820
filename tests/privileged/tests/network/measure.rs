//! Figures rather than judgements: `cargo test -p kedge-privileged --test network -- --ignored --nocapture measure`.
//! Paths take turns in one run, so that a busy machine slows all of them alike.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kedge_cni::BuiltIn;
use kedge_cni_api::{Attach, Error, Network, PodLink};
use kedge_proxy::Attachment;

use crate::lab::{Pod, at, in_lab, inside, new_netns};
use crate::talk::serve_tcp;

const ROUNDS: usize = 600;

/// A datapath that is none: the kernel routes.
struct Kernel;

impl PodLink for Kernel {
    fn attach(&self, _: u32, _: &[IpAddr]) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&self, _: u32, _: &[IpAddr]) -> Result<(), Error> {
        Ok(())
    }

    fn retain(&self, _: &[(u32, Vec<IpAddr>)]) -> Result<(), Error> {
        Ok(())
    }
}

/// Connect, read to the end, close.
fn turn(address: SocketAddr) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    started.elapsed()
}

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "prints figures"]
fn measure_connections() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let kernel = lab.runtime.block_on(BuiltIn::open(&lab.roots_of("kernel"), Arc::new(Kernel))).unwrap();
        lab.runtime.block_on(kernel.set_ranges(vec!["10.245.0.0/24".parse().unwrap()])).unwrap();
        let plain = |id: &str| {
            let netns = new_netns();
            let request = Attach {
                sandbox_id: id.to_owned(),
                pod_namespace: String::new(),
                pod_name: String::new(),
                pod_uid: String::new(),
                ifname: "eth0".to_owned(),
            };
            let attached = lab.runtime.block_on(kernel.attach(netns.as_fd(), &request)).unwrap();
            Pod { netns, ip: attached.ips[0] }
        };
        let (far_client, far_server) = (plain("kernelclient"), plain("xkernelserver"));
        let _servers = [
            serve_tcp(&server.netns, at(server.ip, 8080), "x"),
            serve_tcp(&far_server.netns, at(far_server.ip, 8080), "x"),
        ];
        for services in [1, 10_000] {
            let vip = at(lab.service(250, "", &[(server.ip, 8080)]), 80);
            if services > 1 {
                let started = Instant::now();
                lab.crowd(services);
                println!("{services} services with 10 backends each written in {:?}", started.elapsed());
            }
            let mut times: [Vec<Duration>; 3] = Default::default();
            for _ in 0..20 {
                let paths = [
                    (&far_client.netns, at(far_server.ip, 8080)),
                    (&client.netns, at(server.ip, 8080)),
                    (&client.netns, vip),
                ];
                for (times, (netns, address)) in times.iter_mut().zip(paths) {
                    times.extend(inside(netns, || {
                        (0..ROUNDS / 20).map(|_| turn(address)).collect::<Vec<_>>()
                    }));
                }
            }
            let [kernel, direct, service] = times.map(|times| p50(times).as_secs_f64() * 1e6);
            println!(
                "{services} services: kernel {kernel:.1} µs, direct {direct:.1} ({:.2}), service {service:.1} ({:.2})",
                direct / kernel,
                service / kernel
            );
        }
        lab.runtime.block_on(kernel.remove()).unwrap();
    });
}

#[test]
#[ignore = "prints figures"]
fn measure_attach() {
    for attachment in [Attachment::Tcx, Attachment::Clsact] {
        in_lab(Some(attachment), move |lab| {
            let times = (0..50).map(|_| lab.attach_time()).collect();
            println!("attach by {attachment:?} p50 {:?}", p50(times));
        });
    }
}
