"""Models projected to nodes and relationships: declared by apps, written in batches, repeatable."""
