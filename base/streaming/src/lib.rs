//! SPDY/3.1 and WebSocket codecs without I/O.
