"""The worker protocol: messages in one shape for all generations, without I/O."""
