//! The image of a container: used, pulled, or refused.

use std::time::Instant;

use kedge_api::pod::{Container, Pod};
use kedge_cri_api::{AuthConfig, Image};
use kedge_kubelet_core::env::Sources;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::image::{Need, need, pull_duration};
use kedge_kubelet_core::volumes::References;

use crate::agent::Agent;
use crate::events::tell_pod;
use crate::sources::credentials;

/// Reason and message of the waiting state.
pub(crate) type Refusal = (&'static str, String);

pub(crate) async fn ensure(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    references: &References,
) -> Result<Image, Refusal> {
    tell_missing_secrets(agent, pod, sources, references);
    let failed =
        |cause: kedge_cri_api::Error| ("ImageInspectError", format!("Failed to inspect image: {cause}"));
    let present = agent.images.image_status(&container.image).await.map_err(failed)?;
    match (need(container, present.is_some()), present) {
        (Need::Use, Some(image)) => {
            let message = format!(
                "Container image {:?} already present on machine and can be accessed by the pod",
                container.image
            );
            tell_pod(&agent.recorder, pod, Event::normal("Pulled", message).of(&container.name));
            Ok(image)
        }
        (Need::Refuse, _) => {
            let message =
                format!("Container image {:?} is not present with pull policy of Never", container.image);
            tell_pod(
                &agent.recorder,
                pod,
                Event::warning("ErrImageNeverPull", message.clone()).of(&container.name),
            );
            Err(("ErrImageNeverPull", message))
        }
        (Need::Use | Need::Pull, _) => pull(agent, pod, container, sources, references).await,
    }
}

/// Said even where the image is here already.
fn tell_missing_secrets(agent: &Agent, pod: &Pod, sources: &Sources, references: &References) {
    let missing: Vec<&str> = references
        .pull_secrets
        .iter()
        .filter(|name| !sources.secrets.contains_key(*name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        tell_pod(&agent.recorder, pod, Event::warning("FailedToRetrieveImagePullSecret", message));
    }
}

async fn pull(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    references: &References,
) -> Result<Image, Refusal> {
    let image = &container.image;
    let tell = |event: Event| tell_pod(&agent.recorder, pod, event.of(&container.name));
    tell(Event::normal("Pulling", format!("Pulling image {image:?}")));
    let begun = Instant::now();
    // The semaphore is never closed, so the only outcome is a permit.
    let _turn = agent.pulls.acquire().await;
    let secrets = references.pull_secrets.iter().filter_map(|name| sources.secrets.get(name));
    let known = credentials(image, secrets);
    let done = pull_with(agent, image, known).await;
    agent.node_changed.notify_one();
    let pulled = match done {
        Ok(id) => agent.images.image_status(&id).await,
        Err(error) => Err(error),
    };
    match pulled {
        Ok(Some(found)) => {
            let took = pull_duration(begun.elapsed());
            let size = found.size_bytes;
            tell(Event::normal(
                "Pulled",
                format!("Successfully pulled image {image:?} in {took}. Image size: {size} bytes."),
            ));
            Ok(found)
        }
        Ok(None) => Err(pull_failed(agent, pod, container, "the pulled image is not here any more")),
        // Of all codes, this one is told with the words of a remote call.
        Err(error @ kedge_cri_api::Error::NotFound(_)) => {
            Err(pull_failed(agent, pod, container, &format!("rpc error: code = NotFound desc = {error}")))
        }
        Err(error) => Err(pull_failed(agent, pod, container, &error.to_string())),
    }
}

/// Every matching credential in turn; without one, anonymously. The last error is the one that is told.
async fn pull_with(agent: &Agent, image: &str, known: Vec<AuthConfig>) -> kedge_cri_api::Result<String> {
    let mut tries: Vec<Option<AuthConfig>> = known.into_iter().map(Some).collect();
    if tries.is_empty() {
        tries.push(None);
    }
    let mut last = Err(kedge_cri_api::Error::Internal("no credential was tried".to_owned()));
    for auth in tries {
        last = agent.images.pull_image(image, auth).await;
        if last.is_ok() {
            break;
        }
    }
    last
}

fn pull_failed(agent: &Agent, pod: &Pod, container: &Container, words: &str) -> Refusal {
    let tell = |message: String| {
        tell_pod(&agent.recorder, pod, Event::warning("Failed", message).of(&container.name));
    };
    tell(format!("Failed to pull image {:?}: {words}", container.image));
    tell("Error: ErrImagePull".to_owned());
    ("ErrImagePull", words.to_owned())
}
