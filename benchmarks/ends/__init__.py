"""The ends of a measured connection: what a server's or a client's process does and answers."""
