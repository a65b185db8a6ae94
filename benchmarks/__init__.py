"""How fast it is: each module prints its setting with its figures, and compares ratios within one run."""
