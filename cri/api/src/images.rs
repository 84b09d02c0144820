//! Images as the kubelet sees them.

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of the image config.
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    /// Bytes of the compressed layers and config.
    pub size_bytes: u64,
    /// Numeric user of the image config, when it is a number.
    pub uid: Option<i64>,
    /// User name of the image config, when it is not a number.
    pub username: String,
    /// Never removed by image garbage collection.
    pub pinned: bool,
}

/// Credentials for one registry. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthConfig {
    pub username: String,
    pub password: String,
    pub identity_token: String,
    pub registry_token: String,
    pub server_address: String,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthConfig for {}", self.server_address)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsUsage {
    pub timestamp_ns: i64,
    pub mountpoint: String,
    pub used_bytes: u64,
    pub inodes_used: u64,
}
