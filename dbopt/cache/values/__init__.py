"""Results as bytes and back, and what is stored around them."""
