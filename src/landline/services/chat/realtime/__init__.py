"""Chat's changes live in the official browser clients (chat-realtime.md A)."""
