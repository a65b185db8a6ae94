"""``python -m avtomatika`` is the command ``avtomatika``."""

from avtomatika.cli import main

if __name__ == "__main__":
    main()
