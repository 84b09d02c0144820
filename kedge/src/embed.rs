//! What lies inside the binary.

/// The pod's supervisor, a static musl program.
pub static PAUSE: &[u8] = include_bytes!(env!("KEDGE_EMBED_PAUSE"));

/// The demo image `kedge.local/hello:1`, an OCI layout in a tar file.
pub static HELLO_IMAGE: &[u8] = include_bytes!(env!("KEDGE_EMBED_HELLO_IMAGE"));
