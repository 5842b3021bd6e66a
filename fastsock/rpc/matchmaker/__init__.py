"""Finding servers: the matchmaker, its registry and trials, and the route of a stub."""
