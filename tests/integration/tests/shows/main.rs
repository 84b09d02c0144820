//! What the first issue's *Shows* and *Bad input, faults* ask for beyond the spine. Each test has a lab of its own; they
//! run side by side, since all of them mostly wait.

mod asked;
mod configuration;
mod confinement;
mod crashes;
mod faults;
mod identities;
mod images;
mod services;
mod survival;
mod traces;
