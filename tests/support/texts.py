"""Texts that the embedded model is sure about."""

PRAISE = "I loved it, it was wonderful, and I would go again. "
BLAME = "It was terrible, a waste of money, and I hated every minute. "
