//! The pod's supervisor process.

fn main() {}
