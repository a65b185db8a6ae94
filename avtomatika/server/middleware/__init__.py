"""What requests pass through; one file for each concern."""
