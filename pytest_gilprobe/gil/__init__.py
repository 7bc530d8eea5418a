"""A process's GIL: where it lies (`locate`), when it is held (`watch`), what a sleeper feels of it (`heartbeat`)."""
