"""`rt-sentiment models`: the versions of models."""
