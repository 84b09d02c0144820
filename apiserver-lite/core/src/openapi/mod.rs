//! OpenAPI v3 documents out of the schema.
