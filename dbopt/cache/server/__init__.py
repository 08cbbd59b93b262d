"""The way to the cache server, and what keeps it short, bounded and right when the server fails."""
