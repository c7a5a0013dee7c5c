"""How close the one command for training comes to the best that a sweep finds, on sets of a grammar."""
