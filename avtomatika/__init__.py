"""avtomatika: durable asynchronous workflows as state machines."""
