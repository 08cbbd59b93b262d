"""Loaders, and how rows are read for them: by key, along relations, as narrow as an operation needs."""
