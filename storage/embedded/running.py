"""The search for a server that another process of ours runs on a data folder.

Owns the way from a data folder to the socket of the server that works there. It must never start,
stop or change a server: the server belongs to the process that holds the folder's lock.
"""

from pathlib import Path

from storage.embedded.files import find_recorded_home, socket_in
from storage.embedded.probe import NoAnswer, ask
from storage.embedded.process import find_live_postmaster
from storage.embedded.server import DATABASE, dsn_on


async def find_running_server(data_dir: Path) -> str | None:
    """Return the DSN of the server that works on this data folder; None if no server answers.

    Waits at most 5 s for its answer.
    """
    home = find_recorded_home(data_dir)
    found = None if home is None else find_live_postmaster(home / "cluster")
    if home is None or found is None or found[1].socket_folder is None:
        return None
    sockets = found[1].socket_folder
    try:
        served = await ask(
            socket_in(sockets), "SELECT current_setting('data_directory')", database=DATABASE
        )
    except NoAnswer:
        return None
    return dsn_on(sockets) if served == [str(home / "cluster")] else None
