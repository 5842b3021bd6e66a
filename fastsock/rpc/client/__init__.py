"""The client's end of a connection: calls, the link that carries them, and reconnecting."""
