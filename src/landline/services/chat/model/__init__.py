"""The pure half of chat: ids, values, rules and rates."""
