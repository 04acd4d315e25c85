"""What can go wrong without ending the bench."""

from __future__ import annotations


class Failure(Exception):
    """A server, a tool or a run failed; the message says why, in words fit for the table's notes."""
