"""`python -m app` is `rt-sentiment`."""

from .cli.run import main

if __name__ == "__main__":
    main()
