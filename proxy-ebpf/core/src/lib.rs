//! Services and EndpointSlices to tables to a map image to an ordered diff.
