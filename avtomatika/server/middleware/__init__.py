"""What every request passes through; one file for each concern."""
