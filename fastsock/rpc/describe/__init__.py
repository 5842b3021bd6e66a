"""What a server says of its interface, and what is made of it: calls by name, stub text."""
