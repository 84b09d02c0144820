//! Structural facts of the built-in types: fields, list types, merge keys, defaults; pruning and field validation.
