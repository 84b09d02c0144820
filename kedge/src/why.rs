//! `kedge why …`: explains a state from what the API server knows.

use crate::failure::{Failure, Outcome};
use crate::options::WhyCommand;
use crate::site::SiteOptions;
use kedge_client::Client;

pub fn why(site: &SiteOptions, command: &WhyCommand) -> Outcome {
    let roots = site.roots()?;
    let kubeconfig = roots.kubernetes.join("admin.conf");
    crate::control::command_runtime()?.block_on(async {
        let client =
            Client::from_kubeconfig(&kubeconfig, "kedge-why").await.map_err(|error| Failure::of(&error))?;
        match command {
            WhyCommand::Pod { name, namespace } => {
                let report = kedge_scheduler::why(&client, namespace, name)
                    .await
                    .map_err(|error| Failure::of(&error))?;
                print!("{report}");
                Ok(())
            }
        }
    })
}
