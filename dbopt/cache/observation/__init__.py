"""What runs on the connections to the database: which tags statements read and write, and when that counts."""
