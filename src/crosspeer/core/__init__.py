"""Hooks, peers, topics, the hub and their limits. No event loop, no sockets, no clock."""
