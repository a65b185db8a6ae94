"""What is done for a release: an environment with the wheel alone, its bill of materials, an audit of what it needs."""
