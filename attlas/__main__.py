"""``python -m attlas`` is the same as ``attlas``."""

from attlas.cli import main

if __name__ == "__main__":
    main()
