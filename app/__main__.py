"""`python -m app` is `rt-sentiment`."""

from .cli import main

if __name__ == "__main__":
    main()
