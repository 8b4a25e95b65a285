"""Vendors, one folder each: client.py (I/O), wire.py (pure: payload to readings), README.md."""
