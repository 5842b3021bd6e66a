"""The server's end: sessions, calls on threads and on the loop, answers, and their limits."""
