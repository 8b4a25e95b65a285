"""A real PostgreSQL inside the data folder: found, started, probed, stopped by us, from the binaries of a wheel.

server.py is the way in; the other files own one thing each: the folders and the lock, the unprivileged owner, the
binaries, the processes, the commands that make a cluster, the probe.
"""

from storage.embedded.owner import EmbeddedUnavailable, FolderInUse
from storage.embedded.running import find_running_server
from storage.embedded.server import EmbeddedPostgres, open_embedded

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable", "FolderInUse", "find_running_server", "open_embedded"]
