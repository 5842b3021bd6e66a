"""``python -m fastsock.chat``."""

from fastsock.chat import main

if __name__ == "__main__":
    main()
