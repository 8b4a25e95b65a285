"""A real PostgreSQL inside the data folder: found, started, probed, stopped by us, from the binaries of a wheel.

server.py is the way in; the other files own one thing each: the folders and the lock, the unprivileged owner, the
binaries, the processes, the commands that make a cluster, the probe.
"""

from storage.embedded.server import EmbeddedPostgres, EmbeddedUnavailable, open_embedded

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable", "open_embedded"]
