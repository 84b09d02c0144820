use super::*;
use hickory_proto::op::Query;
use hickory_proto::rr::RecordType;
use kedge_api::{EndpointSlice, Service};
use std::net::IpAddr;

/// One headless service with many endpoints.
struct Crowd;

impl Directory for Crowd {
    fn service(&self, _: &str, name: &str) -> Option<Arc<Service>> {
        let text = r#"{"metadata":{"name":"crowd"},"spec":{"clusterIP":"None"}}"#;
        (name == "crowd").then(|| Arc::new(serde_json::from_str(text).unwrap()))
    }

    fn slices(&self, _: &str, _: &str) -> Vec<Arc<EndpointSlice>> {
        let endpoints: Vec<_> =
            (0..200).map(|n| serde_json::json!({"addresses": [format!("10.244.0.{n}")]})).collect();
        let slice =
            serde_json::json!({"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": endpoints});
        vec![Arc::new(serde_json::from_value(slice).unwrap())]
    }

    fn has_namespace(&self, _: &str) -> bool {
        true
    }

    fn names_of(&self, _: IpAddr) -> Vec<String> {
        Vec::new()
    }
}

fn clients() -> Clients {
    Clients { pods: vec!["10.244.0.0/16".parse().unwrap()], node: "192.0.2.5".parse().unwrap() }
}

/// The node's address is reachable from its network: a stranger there is no client of ours.
#[test]
fn pods_and_the_node_are_answered_and_nobody_else() {
    let has = |text: &str| clients().has(SocketAddr::new(text.parse().unwrap(), 40_000));
    assert!(has("10.244.3.7") && has("192.0.2.5") && has("127.0.0.1") && has("::ffff:10.244.3.7"));
    assert!(!has("192.0.2.6") && !has("10.96.0.10") && !has("2001:db8::1"));
}

fn question(name: &str, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// Sends one question over both transports to a server of ours on loopback.
async fn ask(bytes: &[u8]) -> (Message, Message) {
    let resolver = Arc::new(Resolver {
        zone: Zone::new("cluster.local").unwrap(),
        clients: clients(),
        directory: Crowd,
        upstream: Upstream::new(Vec::new()),
    });
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let servers = [tokio::spawn(serve_udp(udp, resolver.clone())), tokio::spawn(serve_tcp(tcp, resolver))];

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(bytes, udp_at).await.unwrap();
    let mut buffer = [0; 4096];
    let length = client.recv(&mut buffer).await.unwrap();
    let by_udp = Message::from_vec(&buffer[..length]).unwrap();

    let mut stream = TcpStream::connect(tcp_at).await.unwrap();
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    for server in servers {
        server.abort();
    }
    (by_udp, Message::from_vec(&answer).unwrap())
}

#[tokio::test]
async fn long_answers_are_cut_by_udp_and_whole_by_tcp() {
    for payload in [None, Some(4096)] {
        let (udp, tcp) = ask(&question("crowd.default.svc.cluster.local.", payload)).await;
        assert!(udp.metadata.truncation && udp.answers.is_empty(), "payload {payload:?}");
        assert_eq!(tcp.answers.len(), 200);
        assert_eq!(tcp.edns.is_some(), payload.is_some());
    }
}

#[tokio::test]
async fn denials_carry_the_soa_and_upstream_failures_say_so() {
    let (udp, _) = ask(&question("nobody.default.svc.cluster.local.", None)).await;
    assert_eq!(udp.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(udp.authorities.len(), 1);
    let (udp, _) = ask(&question("a.example.", None)).await;
    assert_eq!(udp.metadata.response_code, ResponseCode::ServFail);
}
