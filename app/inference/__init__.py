"""A model and what runs it. Knows no HTTP."""
