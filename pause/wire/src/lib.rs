//! Pause protocol 1: LaunchSpec, messages, codec (no_std).
