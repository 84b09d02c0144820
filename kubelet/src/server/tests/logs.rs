use super::super::{Handlers, log_stream};
use super::fake::Fake;
use crate::lookup::{ContainerPlace, Lookup};
use http_body_util::BodyExt;
use kedge_cri_api::{ContainerId, SandboxId};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct OneContainer(PathBuf);

impl Lookup for OneContainer {
    fn container(&self, _: &str, _: &str, container: &str, previous: bool) -> Option<ContainerPlace> {
        (container == "main" && !previous).then(|| ContainerPlace {
            id: ContainerId("c1".into()),
            is_running: true,
            log_path: self.0.clone(),
            tty: false,
            stdin: false,
        })
    }

    fn sandbox(&self, _: &str, pod: &str) -> Option<SandboxId> {
        (pod == "p1").then(|| SandboxId("box".into()))
    }

    fn ended(&self, _: &str, _: &str, container: &str) -> Option<String> {
        (container == "forgotten").then(|| "kedge://c0".to_owned())
    }
}

struct World {
    folder: tempfile::TempDir,
    fake: Arc<Fake>,
    handlers: Handlers,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let fake = Arc::new(Fake::default());
    let handlers = Handlers {
        runtime: Arc::clone(&fake) as _,
        lookup: Arc::new(OneContainer(folder.path().join("0.log"))),
        node_name: "n".into(),
        pods: Box::new(Vec::new),
        metrics: Default::default(),
    };
    World { folder, fake, handlers }
}

impl World {
    fn write(&self, lines: std::ops::Range<usize>) {
        write(&self.folder.path().join("0.log"), lines);
    }

    async fn get(&self, pod: &str, container: &str, query: &str) -> Result<String, String> {
        let answer = log_stream::handle(&self.handlers, "ns", pod, container, Some(query)).await;
        let body =
            answer.map_err(|rejection| format!("{} {}", rejection.0.as_u16(), rejection.1))?.into_body();
        let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }
}

fn write(path: &Path, lines: std::ops::Range<usize>) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    for line in lines {
        writeln!(file, "2026-01-01T00:00:{:02}Z stdout F line {line}", line % 60).unwrap();
    }
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|line| format!("line {line}\n")).collect()
}

#[tokio::test]
async fn the_wanted_part_of_a_log() {
    let world = world();
    world.write(0..5000);
    assert_eq!(world.get("p1", "main", "").await.unwrap(), lines(0..5000));
    assert_eq!(world.get("p1", "main", "tailLines=3").await.unwrap(), lines(4997..5000));
    assert_eq!(world.get("p1", "main", "tailLines=4000").await.unwrap(), lines(1000..5000));
    assert_eq!(world.get("p1", "main", "tailLines=0").await.unwrap(), "");
    assert_eq!(world.get("p1", "main", "limitBytes=10").await.unwrap(), "line 0\nlin");
    assert_eq!(world.get("p1", "main", "sinceTime=2099-01-01T00:00:00Z").await.unwrap(), "");
    let forgotten = world.get("p1", "forgotten", "").await.unwrap();
    assert_eq!(forgotten, "unable to retrieve container logs for kedge://c0");
}

#[tokio::test]
async fn refusals() {
    let world = world();
    for (pod, container, query, expected) in [
        ("p1", "main", "", "500 unable to retrieve container logs for c1: "),
        ("p1", "nosuch", "", "400 container \"nosuch\" in pod \"p1\" is not available"),
        ("p1", "main", "previous=true", "400 previous terminated container \"main\" in pod \"p1\" not found"),
        ("p2", "nosuch", "", "404 pod \"p2\" not found"),
        ("p1", "main", "tailLines=x", "400 tailLines: \"x\" is not a number"),
        (
            "p1",
            "main",
            "sinceSeconds=1&sinceTime=x",
            "400 at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ] {
        let refused = world.get(pod, container, query).await.unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[tokio::test]
async fn following_survives_a_rotation_and_ends_with_the_container() {
    let world = world();
    world.write(0..10);
    let answer =
        log_stream::handle(&world.handlers, "ns", "p1", "main", Some("follow=true&tailLines=2")).await;
    let mut body = answer.map_err(|rejection| rejection.1).unwrap().into_body();
    let mut seen = String::new();
    let path = world.folder.path().join("0.log");
    let mut step = 0;
    while let Some(frame) = body.frame().await {
        seen.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        // Each step begins when the one before has arrived.
        match step {
            0 if seen == lines(8..10) => world.write(10..12),
            1 if seen == lines(8..12) => {
                world.write(12..13);
                std::fs::rename(&path, world.folder.path().join("0.log.20260101")).unwrap();
                world.write(13..15);
            }
            2 if seen == lines(8..15) => {
                world.write(15..16);
                world.fake.stop("c1");
            }
            _ => continue,
        }
        step += 1;
    }
    assert_eq!(seen, lines(8..16));
}
