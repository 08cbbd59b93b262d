"""Graph indexes and constraints: declared in Python, compared with the server, created and verified."""
