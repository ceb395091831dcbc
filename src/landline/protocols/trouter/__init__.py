"""Trouter: notifications pushed to browsers as requests over socket.io 0.9, sans-IO (chat-realtime.md A)."""
