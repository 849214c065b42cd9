"""One process's session with a daemon: transport, frames, flush, reconnect, shared memory."""
