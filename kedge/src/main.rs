//! The multi-call binary; the only place where a shell meets another shell.

fn main() {}
