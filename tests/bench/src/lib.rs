//! One program per number in SPECIFICATION.md.
