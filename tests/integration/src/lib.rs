//! Drives the built kedge and the real kubectl in a lab node: network and mount namespaces of its own, its own folders and
//! cgroups. No part of kedge is linked here, so that a test says what a user sees; only `trace` reads the kernel through the
//! house's own syscalls.

pub mod ask;
pub mod cgroups;
pub mod image;
pub mod lab;
pub mod registry;
pub mod run;
pub mod stage;
pub mod steps;
pub mod tools;
pub mod trace;
pub mod wait;
