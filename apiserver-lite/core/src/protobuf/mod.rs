//! Decoding of protobuf request bodies into JSON values.
