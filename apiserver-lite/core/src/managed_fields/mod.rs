//! Who set which field: kept on every write.
