//! The ordered chain of pure mutators and validators.
