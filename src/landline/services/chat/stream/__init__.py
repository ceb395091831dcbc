"""The chat feed: every change a user may see, in one order, resumable (docs/design/chat-feed.md)."""
