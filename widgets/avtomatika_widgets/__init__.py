"""Live widgets over avtomatika jobs."""
