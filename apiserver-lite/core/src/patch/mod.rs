//! JSON, merge and strategic merge patch, driven by the schema.
