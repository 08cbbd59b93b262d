"""`optimize`: loaders behind a schema's relations and nodes."""
