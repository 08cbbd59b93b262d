"""What things are called: keys, tags and their tokens, tables and the rows of them."""
