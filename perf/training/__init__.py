"""How close the one command for training comes to the best that a sweep finds, on six sets of a grammar."""
