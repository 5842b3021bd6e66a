"""``fastsock-chat``: a conversation over sockets, in a terminal or through pipes."""
