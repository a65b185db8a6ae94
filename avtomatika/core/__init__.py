"""The decisions: what follows from an event, without I/O, clock or chance."""
