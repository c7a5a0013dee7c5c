"""`python -m app` is `rt-sentiment`."""

from app.cli import main

if __name__ == "__main__":
    main()
