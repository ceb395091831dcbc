"""Core NATS as the bus between processes: its client side, and a server of our own as a child process."""
