"""Cached functions: the decorators, and a call from its key to its result."""
