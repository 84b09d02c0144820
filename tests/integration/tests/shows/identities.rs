//! Every part has an identity of its own with the rights of its role: three things outside of it are refused to each.

use kedge_integration::lab::{Lab, NODE};
use kedge_integration::run::contains;

const ACCOUNTS: &str = "system:serviceaccounts,system:serviceaccounts:kube-system";

#[test]
fn each_identity_is_refused_what_is_not_its_own() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.kedge("start").ok();
    lab.kubectl("wait --for=create serviceaccount/default --timeout=20s").ok();
    let node = format!("system:node:{NODE}");
    let account = |name: &str| format!("system:serviceaccount:kube-system:{name}");
    let cases: [(&str, &str, [&str; 3]); 6] = [
        (
            &node,
            "system:nodes",
            [
                "get secrets",
                "delete namespace default",
                "create clusterrolebinding own --clusterrole=cluster-admin --user=x",
            ],
        ),
        ("system:kube-scheduler", "", ["get secrets", "delete service kubernetes", "create namespace own"]),
        ("system:kube-proxy", "", ["get secrets", "get pods", "delete service kubernetes"]),
        (
            &account("kube-dns"),
            ACCOUNTS,
            ["get secrets", "delete service kubernetes", "create configmap own"],
        ),
        (
            &account("deployment-controller"),
            ACCOUNTS,
            ["get secrets", "delete namespace default", "create serviceaccount own"],
        ),
        (
            &account("endpointslice-controller"),
            ACCOUNTS,
            ["get secrets", "delete service kubernetes", "create namespace own"],
        ),
    ];
    for (identity, groups, attempts) in cases {
        for attempt in attempts {
            let groups: String = groups
                .split(',')
                .filter(|group| !group.is_empty())
                .map(|group| format!(" --as-group={group}"))
                .collect();
            let said = lab.kubectl(&format!("{attempt} --as={identity}{groups}")).fails_with(1);
            contains(&said, &[&format!("is forbidden: User \"{identity}\" cannot")]);
        }
    }
    // The rights of one's own role are there.
    lab.kubectl(&format!("get node {NODE} --as={node} --as-group=system:nodes")).ok();
    lab.kubectl("get pods --as=system:kube-scheduler").ok();
    lab.kubectl("get services --as=system:kube-proxy").ok();
}
