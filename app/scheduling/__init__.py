"""Which texts run when. Knows no model."""
