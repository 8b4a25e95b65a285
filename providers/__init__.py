"""Vendors: one folder each, always client.py (I/O), wire.py (pure: payload to readings), README.md."""
