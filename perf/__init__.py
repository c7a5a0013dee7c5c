"""Speed, measured from outside. Only ratios taken in one run count: the machines are noisy."""
