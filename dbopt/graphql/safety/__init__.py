"""What an operation may be: limits, costs, documents that are remembered or allowed."""
