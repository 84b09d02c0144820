//! The demo image's program.

fn main() {}
