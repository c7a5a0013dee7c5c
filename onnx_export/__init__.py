"""Offline: from a PyTorch checkpoint to the artifact that is served, and proof that nothing was lost on the way."""
