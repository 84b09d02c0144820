//! The command line.

use crate::site::SiteOptions;
use clap::{Args, Parser, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

/// A Kubernetes in one binary: pods run natively, services are balanced by eBPF.
#[derive(Debug, Parser)]
#[command(name = "kedge", version = crate::version::VERSION, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub site: SiteOptions,
    /// Configuration file; its drop-ins are in the folder of the same name with `.d` [default: /etc/kedge/config.yaml].
    #[arg(long, env = "KEDGE_CONFIG", global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines are written.
    #[arg(long, env = "KEDGE_LOG_FORMAT", global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log verbosity, in the syntax of RUST_LOG.
    #[arg(long, env = "KEDGE_LOG", global = true, default_value = "info", value_name = "FILTER")]
    pub log: String,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node, or adopt the one that runs; wait until it is Ready.
    Start(StartOptions),
    /// End the pods, then kedge; keep all state.
    Stop(StopOptions),
    /// Stop, and remove every trace of the node.
    #[command(alias = "reset")]
    Delete(DeleteOptions),
    /// How the node and its parts are.
    Status(StatusOptions),
    /// Explain a state: `kedge why pod NAME`.
    #[command(subcommand)]
    Why(WhyCommand),
    /// List, load, pull and remove images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Say what this machine lacks and how to mend it.
    Check(CheckOptions),
    /// One of the attempts of `check`.
    #[command(hide = true)]
    EnterUserNamespace,
    /// Print the effective configuration of `start`, and where each value comes from.
    Config(StartOptions),
    /// Print the version.
    Version,
    /// Run kubectl against this node: `kedge kubectl get pods`.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Kubectl {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Write a completion script.
    Completion { shell: clap_complete::Shell },
    /// Run the API server alone.
    Apiserver(ApiserverOptions),
    /// Run the scheduler alone.
    Scheduler(ClientOptions),
    /// Run the controllers alone.
    Controllers(ControllersOptions),
    /// Run the node agent alone, with runtime, network, proxy and DNS.
    Kubelet(KubeletOptions),
}

#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// Range of service addresses.
    #[arg(long, env = "KEDGE_SERVICE_CLUSTER_IP_RANGE", default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub service_cluster_ip_range: ipnet::Ipv4Net,
    /// Port of the API server.
    #[arg(long, env = "KEDGE_SECURE_PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Address to listen on.
    #[arg(long, env = "KEDGE_BIND_ADDRESS", default_value = "0.0.0.0", value_name = "IP")]
    pub bind_address: IpAddr,
    /// More names and addresses for the serving certificate.
    #[arg(long, env = "KEDGE_TLS_SAN", value_delimiter = ',', value_name = "NAME")]
    pub tls_san: Vec<String>,
    /// File of static tokens (token,user,uid,"group1,group2").
    #[arg(long, env = "KEDGE_TOKEN_AUTH_FILE", value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct ClusterOptions {
    /// Range of pod addresses.
    #[arg(long, env = "KEDGE_CLUSTER_CIDR", default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub cluster_cidr: ipnet::Ipv4Net,
    /// The cluster's DNS domain.
    #[arg(long, env = "KEDGE_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Controllers to run: `*`, names, and `-name` to leave one out.
    #[arg(
        long,
        env = "KEDGE_CONTROLLERS",
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_name = "LIST"
    )]
    pub controllers: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct NodeOptions {
    /// Pods without a seccomp profile get RuntimeDefault [upstream: false].
    #[arg(long, env = "KEDGE_SECCOMP_DEFAULT", default_value_t = true, action = clap::ArgAction::Set)]
    pub seccomp_default: bool,
    /// Labels for the node at registration.
    #[arg(long, env = "KEDGE_NODE_LABELS", value_delimiter = ',', value_name = "KEY=VALUE")]
    pub node_labels: Vec<String>,
    /// The resolv.conf that pods and the cluster DNS start from.
    #[arg(long, env = "KEDGE_RESOLV_CONF", default_value = "/etc/resolv.conf", value_name = "FILE")]
    pub resolv_conf: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct StartOptions {
    /// Do not go into the background.
    #[arg(long)]
    pub foreground: bool,
    /// Parts to leave out, so that another program takes their place: scheduler, controllers, kubelet, proxy, dns.
    #[arg(long, env = "KEDGE_DISABLE", value_delimiter = ',', value_enum, value_name = "LIST")]
    pub disable: Vec<Part>,
    /// Do not touch any kubeconfig but /etc/kubernetes/admin.conf.
    #[arg(long, env = "KEDGE_NO_KUBECONFIG")]
    pub no_kubeconfig: bool,
    /// Seconds to wait for the node to be Ready.
    #[arg(long, env = "KEDGE_WAIT", default_value_t = 120, value_name = "SECONDS")]
    pub wait: u64,
    /// Treat this feature as missing, to see what would follow.
    #[arg(long, value_name = "FEATURE", hide = true)]
    pub without: Vec<String>,
    #[command(flatten)]
    pub server: ServerOptions,
    #[command(flatten)]
    pub cluster: ClusterOptions,
    #[command(flatten)]
    pub node: NodeOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Scheduler,
    Controllers,
    Kubelet,
    Proxy,
    Dns,
}

#[derive(Debug, Clone, Args)]
pub struct StopOptions {
    /// Leave the pods running.
    #[arg(long)]
    pub keep_pods: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DeleteOptions {
    /// Leave entries in kubeconfig files alone.
    #[arg(long)]
    pub no_kubeconfig: bool,
}

#[derive(Debug, Clone, Args)]
pub struct StatusOptions {
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum WhyCommand {
    /// Why a pod is in its state: each node's verdict if it is not scheduled, else what its containers wait for.
    Pod {
        name: String,
        #[arg(short, long, default_value = "default")]
        namespace: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images of this node.
    #[command(alias = "list")]
    Ls(StatusOptions),
    /// Import an OCI layout or docker-archive tar file (`-` is standard input).
    Load { file: PathBuf },
    /// Pull an image from its registry.
    Pull { image: String },
    /// Remove an image.
    #[command(alias = "remove")]
    Rm { image: String },
}

#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    /// Port of the API server that `start` will be given.
    #[arg(long, env = "KEDGE_SECURE_PORT", default_value_t = 6443, value_name = "PORT")]
    pub secure_port: u16,
    /// Parts that `start` will leave out.
    #[arg(long, env = "KEDGE_DISABLE", value_delimiter = ',', value_enum, value_name = "LIST")]
    pub disable: Vec<Part>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Treat this feature as missing, to see what would follow.
    #[arg(long, value_name = "FEATURE", hide = true)]
    pub without: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ApiserverOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    #[arg(long, env = "KEDGE_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
}

#[derive(Debug, Clone, Args)]
pub struct ClientOptions {
    /// How to reach the API server.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct ControllersOptions {
    #[command(flatten)]
    pub client: ClientOptions,
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// The CA that is published in every namespace [default: that of the kubeconfig].
    #[arg(long, env = "KEDGE_ROOT_CA_FILE", value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct KubeletOptions {
    #[command(flatten)]
    pub client: ClientOptions,
    #[command(flatten)]
    pub node: NodeOptions,
    /// Parts to leave out: proxy, dns.
    #[arg(long, env = "KEDGE_DISABLE", value_delimiter = ',', value_enum, value_name = "LIST")]
    pub disable: Vec<Part>,
    /// Range of pod addresses.
    #[arg(long, env = "KEDGE_CLUSTER_CIDR", default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub cluster_cidr: ipnet::Ipv4Net,
    /// Range of service addresses.
    #[arg(long, env = "KEDGE_SERVICE_CLUSTER_IP_RANGE", default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub service_cluster_ip_range: ipnet::Ipv4Net,
    /// Addresses that pods ask for names.
    #[arg(
        long,
        env = "KEDGE_CLUSTER_DNS",
        value_delimiter = ',',
        default_value = "10.96.0.10",
        value_name = "IP"
    )]
    pub cluster_dns: Vec<IpAddr>,
    #[arg(long, env = "KEDGE_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
}
