"""What can be told of a schema before it is served, from its source and from what its operations ask."""
