"""A complete domain on top of dbopt: entities, relationships and investigations of several tenants."""
