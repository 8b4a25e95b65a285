"""Short supervised loops. They know domain/ and runtime/ and the protocols of ports.py, never a database or a provider by name."""
