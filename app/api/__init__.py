"""HTTP: the only folder that knows FastAPI."""
