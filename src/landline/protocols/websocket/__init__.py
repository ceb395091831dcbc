"""WebSockets from the server's side, sans-IO (RFC 6455): opening handshake, frames out, frames in; no extensions."""
