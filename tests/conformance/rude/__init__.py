"""Implementations and adapters that try to come through the suite without being judged."""
