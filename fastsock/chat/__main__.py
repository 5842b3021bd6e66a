"""``python -m fastsock.chat``."""

from fastsock._scripts import chat

if __name__ == "__main__":
    chat()
