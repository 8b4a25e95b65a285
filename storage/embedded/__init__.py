"""A real PostgreSQL inside the data folder, which we start and stop, from the binaries of a wheel.

server.py is the entry point. The other files own one thing each: the folders and the lock, the
unprivileged owner, the binaries, the processes, the commands that create a cluster, the probe, and
the search for a server that another process runs.
"""

from storage.embedded.owner import EmbeddedUnavailable, FolderInUse
from storage.embedded.running import find_running_server
from storage.embedded.server import EmbeddedPostgres, open_embedded

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedUnavailable",
    "FolderInUse",
    "find_running_server",
    "open_embedded",
]
