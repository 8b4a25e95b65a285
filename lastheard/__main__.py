"""The `lastheard` command, also as `python -m lastheard`.

Owns the first half second, and an output that cannot be written. Until the service watches its
signals, nothing is running that needs an ordered end. So Ctrl-C and SIGTERM end the process at
once, without a traceback from an import.
"""

import errno
import os
import signal
import sys
from types import FrameType

EXIT_STOPPED_WHILE_STARTING = 130
EXIT_UNAVAILABLE = 69
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the `lastheard` command. A signal ends it from its first line on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    _open_closed_outputs()
    from lastheard.cli import main as command

    try:
        command()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"lastheard: the output cannot be written: {error.strerror}", file=sys.stderr)
        os._exit(EXIT_UNAVAILABLE)  # an ordinary end would write the rest, and fail again


def _open_closed_outputs() -> None:
    """Let output go nowhere that was closed by whoever started the process (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
            setattr(sys, name, nowhere)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_STOPPED_WHILE_STARTING)


if __name__ == "__main__":
    main()
