"""What the engine tells about itself while it runs."""
