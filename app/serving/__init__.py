"""From texts to predictions, for everyone who asks."""
