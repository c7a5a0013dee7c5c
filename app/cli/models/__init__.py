"""`rt-sentiment models`: the models that are served, and where they come from."""
