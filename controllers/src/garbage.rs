//! The garbage collector's hands: follows the metadata of every kind, asks the server before it deletes.

use kedge_api::kinds::kinds;
use kedge_api::{OwnerReference, Resource};
use kedge_client::{
    Cache, Client, DeleteOptions, Error, PartialObject, PatchKind, Subscription, WatchOptions,
};
use kedge_controllers_core::garbage::{Act, Graph, Node, drop_references, resource};
use kedge_machinery::{Change, ObjectKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub const NAME: &str = "garbage-collector-controller";

/// An action that failed is looked at again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Changes of all kinds waiting to be put into the graph.
const BATCHES_MAX: usize = 64;

type Owners = Vec<(Option<Resource>, OwnerReference, ObjectKey)>;

pub async fn run(client: Client) {
    let (sender, mut changes) = mpsc::channel(BATCHES_MAX);
    let mut caches = Vec::new();
    for row in kinds().iter().filter(|row| is_collected(row)) {
        let of = resource(row);
        let options = WatchOptions { metadata_only: true, ..WatchOptions::default() };
        let cache: Arc<Cache<PartialObject>> = Cache::start_of(of, client.clone(), options);
        caches.push((of, cache));
    }
    // An owner of a kind that is not known yet would look gone.
    for (_, cache) in &caches {
        cache.synced().await;
    }
    for (of, cache) in &caches {
        tokio::spawn(forward(*of, cache.subscribe(), sender.clone()));
    }
    let mut graph = Graph::default();
    let mut failed: BTreeSet<String> = BTreeSet::new();
    loop {
        // Both arms may be dropped: the channel keeps what was not received.
        tokio::select! {
            Some((of, batch)) = changes.recv() => {
                take_in(&mut graph, of, batch);
                while let Ok((of, batch)) = changes.try_recv() {
                    take_in(&mut graph, of, batch);
                }
            }
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => {
                failed.iter().for_each(|uid| graph.retry(uid));
                failed.clear();
            }
        }
        for act in graph.drain() {
            let uid = uid_of(&act).to_owned();
            if let Err(error) = perform(&client, act).await {
                tracing::debug!(uid, %error, "garbage collection will try again");
                failed.insert(uid);
            }
        }
    }
}

fn is_collected(row: &kedge_api::kinds::Kind) -> bool {
    let once = row.stored_as == row.group_version();
    row.is_stored() && once && row.plural != "events" && row.has_verb("watch") && row.has_verb("delete")
}

async fn forward(
    of: Resource,
    mut subscription: Subscription<PartialObject>,
    sender: mpsc::Sender<(Resource, Vec<Change<PartialObject>>)>,
) {
    loop {
        let batch = subscription.changes().await;
        if sender.send((of, batch)).await.is_err() {
            return;
        }
    }
}

fn take_in(graph: &mut Graph, of: Resource, batch: Vec<Change<PartialObject>>) {
    for change in batch {
        let uid = |object: &Arc<PartialObject>| object.metadata.uid.clone();
        let (old, new) = (change.old.as_ref().map(uid), change.new.as_ref().map(uid));
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
            graph.delete(&old);
        }
        if let Some(object) = &change.new {
            graph.apply(of, &object.metadata);
        }
    }
}

fn uid_of(act: &Act) -> &str {
    match act {
        Act::DeleteUnlessOwned { node, .. } | Act::DropReferences { node, .. } => &node.uid,
        Act::DeleteForeground(node) | Act::Orphan { node, .. } | Act::RemoveFinalizer { node, .. } => {
            &node.uid
        }
    }
}

async fn perform(client: &Client, act: Act) -> Result<(), Error> {
    let done = match act {
        Act::DeleteUnlessOwned { node, owners } => {
            if !gone(client, &owners).await?.len().eq(&owners.len()) {
                return Ok(());
            }
            delete(client, &node, "Background").await
        }
        Act::DropReferences { node, owners } => {
            let gone = gone(client, &owners).await?;
            if gone.is_empty() {
                return Ok(());
            }
            patch(client, &node, PatchKind::Strategic, &drop_references(&node.uid, &gone)).await
        }
        Act::DeleteForeground(node) => delete(client, &node, "Foreground").await,
        Act::Orphan { node, owner_uid } => {
            patch(client, &node, PatchKind::Strategic, &drop_references(&node.uid, &[owner_uid])).await
        }
        Act::RemoveFinalizer { node, finalizers } => {
            let body = json!({"metadata": {"uid": node.uid, "finalizers": finalizers}});
            patch(client, &node, PatchKind::Merge, &body).await
        }
    };
    match done {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

/// The uids of those owners that the server does not have. An owner of an unknown kind counts as there.
async fn gone(client: &Client, owners: &Owners) -> Result<Vec<String>, Error> {
    let mut gone = Vec::new();
    for (of, owner, key) in owners {
        let Some(of) = of else { continue };
        let found: Result<PartialObject, Error> = client.get(*of, &key.namespace, &key.name).await;
        match found {
            Ok(object) if object.metadata.uid == owner.uid => {}
            Ok(_) => gone.push(owner.uid.clone()),
            Err(error) if error.is_not_found() => gone.push(owner.uid.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

async fn delete(client: &Client, node: &Node, policy: &'static str) -> Result<(), Error> {
    let options = DeleteOptions {
        uid: Some(node.uid.clone()),
        propagation_policy: Some(policy),
        ..DeleteOptions::default()
    };
    client.delete(node.of, &node.key.namespace, &node.key.name, &options).await.map(|_| ())
}

async fn patch(client: &Client, node: &Node, kind: PatchKind, body: &Value) -> Result<(), Error> {
    let patched: Result<Value, Error> =
        client.patch(node.of, &node.key.namespace, &node.key.name, "", kind, body).await;
    patched.map(|_| ())
}
