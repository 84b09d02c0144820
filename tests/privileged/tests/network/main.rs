//! Real packets between namespaces: pods, the node and the outside, through the built-in network and the datapath.

// The helpers of a test fail as the test does; clippy sees only the functions marked #[test].
#![allow(clippy::unwrap_used)]

mod lab;
mod measure;
mod talk;

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use kedge_proxy::Attachment;
use lab::{Lab, NODE, OUTSIDE, Pod, at, in_lab, inside};
use talk::{ask_tcp, ask_udp, exchange, serve_tcp, serve_udp};

const NODE_PORT: &str = r#","type":"NodePort""#;

/// Both protocols on one port, answering with `name`.
fn serve(pod: &Pod, name: &str) -> [talk::Server; 2] {
    [serve_tcp(&pod.netns, at(pod.ip, 8080), name), serve_udp(&pod.netns, at(pod.ip, 8080), name)]
}

fn cluster_ip(lab: &mut Lab) {
    let (client, server) = (lab.pod(), lab.pod());
    let _servers = serve(&server, "server");
    let seen = format!("server {}", client.ip);
    let vip = lab.service(20, "", &[(server.ip, 8080)]);
    for address in [at(server.ip, 8080), at(vip, 80)] {
        assert_eq!(ask_tcp(&client.netns, address).unwrap(), seen, "{address}");
        assert_eq!(ask_udp(&client.netns, address).unwrap(), seen, "{address}");
    }
}

#[test]
fn cluster_ip_from_pod_to_pod() {
    in_lab(None, cluster_ip);
}

#[test]
fn cluster_ip_with_clsact() {
    in_lab(Some(Attachment::Clsact), cluster_ip);
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    in_lab(None, |lab| {
        let pod = lab.pod();
        let _servers = serve(&pod, "self");
        let vip = lab.service(20, "", &[(pod.ip, 8080)]);
        for ask in [ask_tcp, ask_udp] {
            assert_eq!(ask(&pod.netns, at(vip, 80)).unwrap(), "self 169.254.1.1");
        }
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    in_lab(None, |lab| {
        let client = lab.pod();
        let vip = lab.service(20, "", &[]);
        let nobody = at([10, 96, 0, 99], 80);
        for (who, netns, address) in [
            ("pod", &client.netns, at(vip, 80)),
            ("pod, no service", &client.netns, nobody),
            ("node", &lab.node, at(vip, 80)),
        ] {
            for ask in [ask_tcp, ask_udp] {
                let started = Instant::now();
                let error = ask(netns, address).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{who}: {error}");
                assert!(started.elapsed() < Duration::from_millis(100), "{who}: {:?}", started.elapsed());
            }
        }
    });
}

#[test]
fn the_nodes_own_processes_reach_services() {
    in_lab(None, |lab| {
        let server = lab.pod();
        let _servers = serve(&server, "server");
        let vip = lab.service(20, NODE_PORT, &[(server.ip, 8080)]);
        for address in [at(server.ip, 8080), at(vip, 80), at(NODE, 30020)] {
            for ask in [ask_tcp, ask_udp] {
                assert_eq!(ask(&lab.node, address).unwrap(), format!("server {NODE}"), "{address}");
            }
        }
        let socket = inside(&lab.node, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(at(vip, 80)).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), at(vip, 80), "getpeername gives back what was named");
    });
}

#[test]
fn node_ports_answer_the_outside_and_pods() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let _servers = serve(&server, "server");
        lab.service(20, NODE_PORT, &[(server.ip, 8080)]);
        for ask in [ask_tcp, ask_udp] {
            assert_eq!(ask(&lab.outside, at(NODE, 30020)).unwrap(), format!("server {OUTSIDE}"));
            assert_eq!(ask(&client.netns, at(NODE, 30020)).unwrap(), format!("server {}", client.ip));
        }
        let refused = ask_tcp(&lab.outside, at(NODE, 30021)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn host_network_backends_answer_under_the_services_name() {
    in_lab(None, |lab| {
        let client = lab.pod();
        let _tcp = serve_tcp(&lab.node, at(NODE, 6443), "api");
        let _udp = serve_udp(&lab.node, at(NODE, 6443), "api");
        let vip = lab.service(1, NODE_PORT, &[(NODE.into(), 6443)]);
        for ask in [ask_tcp, ask_udp] {
            assert_eq!(ask(&client.netns, at(vip, 80)).unwrap(), format!("api {}", client.ip));
            assert_eq!(ask(&lab.node, at(vip, 80)).unwrap(), format!("api {NODE}"));
            assert_eq!(ask(&lab.outside, at(NODE, 30001)).unwrap(), format!("api {OUTSIDE}"));
        }
    });
}

#[test]
fn pods_wear_the_nodes_address_outside() {
    in_lab(None, |lab| {
        let client = lab.pod();
        let _tcp = serve_tcp(&lab.outside, at(OUTSIDE, 8080), "outside");
        let _udp = serve_udp(&lab.outside, at(OUTSIDE, 8080), "outside");
        // A service whose endpoint is outside takes both translations at once.
        let vip = lab.service(20, "", &[(OUTSIDE.into(), 8080)]);
        for address in [at(OUTSIDE, 8080), at(vip, 80)] {
            for ask in [ask_tcp, ask_udp] {
                assert_eq!(ask(&client.netns, address).unwrap(), format!("outside {NODE}"), "{address}");
            }
        }
    });
}

#[test]
fn a_client_with_affinity_stays() {
    in_lab(None, |lab| {
        let (client, one, two) = (lab.pod(), lab.pod(), lab.pod());
        let _servers = [serve(&one, "one"), serve(&two, "two")];
        let backends = [(one.ip, 8080), (two.ip, 8080)];
        let answers = |lab: &mut Lab, extra: &str, last: u8| -> BTreeSet<String> {
            let vip = lab.service(last, extra, &backends);
            (0..12).map(|_| ask_tcp(&client.netns, at(vip, 80)).unwrap()).collect()
        };
        assert_eq!(answers(lab, "", 20).len(), 2, "without affinity both are used");
        assert_eq!(answers(lab, r#","sessionAffinity":"ClientIP""#, 21).len(), 1);
    });
}

#[test]
fn a_datagram_flow_leaves_a_removed_backend() {
    in_lab(None, |lab| {
        let (client, one, two) = (lab.pod(), lab.pod(), lab.pod());
        let _servers = [serve(&one, "one"), serve(&two, "two")];
        let vip = lab.service(20, "", &[(one.ip, 8080)]);
        let socket = inside(&client.netns, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(at(vip, 80)).unwrap();
        for (backend, name) in [(one.ip, "one"), (two.ip, "two"), (one.ip, "one")] {
            lab.service(20, "", &[(backend, 8080)]);
            assert_eq!(exchange(&socket).unwrap(), format!("{name} {}", client.ip));
        }
    });
}

#[test]
fn two_services_and_a_direct_connection_share_one_source_port() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let _servers = serve(&server, "server");
        let first = lab.service(20, "", &[(server.ip, 8080)]);
        let second = lab.service(21, "", &[(server.ip, 8080)]);
        // One unconnected socket: the backend would see the same tuple three times.
        let socket = inside(&client.netns, || UdpSocket::bind("0.0.0.0:4444").unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut bytes = [0; 64];
        for _ in 0..3 {
            for target in [at(first, 80), at(second, 80), at(server.ip, 8080)] {
                socket.send_to(b"?", target).unwrap();
                let (_, from) = socket.recv_from(&mut bytes).unwrap();
                assert_eq!(from, target);
            }
        }
    });
}

#[test]
fn a_closed_port_behind_a_service_refuses_datagrams() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let vip = lab.service(20, "", &[(server.ip, 8081)]);
        // The backend's ICMP error quotes the backend; the client must recognise its own packet.
        let error = ask_udp(&client.netns, at(vip, 80)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_forged_source_is_dropped() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let _servers = serve(&server, "server");
        let forged: std::net::Ipv4Addr = [10, 244, 0, 77].into();
        lab.runtime
            .block_on(async { lab::address(&lab::netlink_in(&client.netns), "eth0", forged, 32).await });
        let socket = inside(&client.netns, || UdpSocket::bind(at(forged, 0)).unwrap());
        socket.connect(at(server.ip, 8080)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.send(b"?").unwrap();
        assert!(socket.recv(&mut [0; 8]).is_err());
        assert_eq!(lab.datapath().stat(kedge_proxy_maps::stat::DROPPED_SOURCE).unwrap(), 1);
    });
}

#[test]
fn traffic_flows_without_a_daemon_and_across_an_upgrade() {
    in_lab(None, |lab| {
        let (client, server) = (lab.pod(), lab.pod());
        let _servers = serve(&server, "server");
        let vip = lab.service(20, NODE_PORT, &[(server.ip, 8080)]);
        let seen = format!("server {}", client.ip);
        let socket = inside(&client.netns, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(at(vip, 80)).unwrap();
        assert_eq!(exchange(&socket).unwrap(), seen);
        lab.kill();
        for _ in 0..2 {
            assert_eq!(exchange(&socket).unwrap(), seen);
            assert_eq!(ask_tcp(&client.netns, at(vip, 80)).unwrap(), seen);
            assert_eq!(ask_tcp(&lab.node, at(vip, 80)).unwrap(), format!("server {NODE}"));
            assert_eq!(ask_tcp(&lab.outside, at(NODE, 30020)).unwrap(), format!("server {OUTSIDE}"));
            lab.open(None);
        }
        let known: BTreeSet<IpAddr> = lab.datapath().pods().unwrap().into_iter().map(|(ip, _)| ip).collect();
        assert_eq!(known, BTreeSet::from([client.ip, server.ip]));
        let pinned = lab.datapath().pinned().unwrap();
        assert_eq!(pinned.services.len(), 6);
    });
}
