"""Short supervised loops.

They know domain/, runtime/ and the protocols of ports.py, never a database or a provider.
"""
