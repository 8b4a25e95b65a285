"""Core seconds, user and system, of running processes.

Rates depend on the other work of the machine; core time hardly does.
"""

from __future__ import annotations

import psutil


def of_process(pid: int) -> float:
    """Return the core seconds of one process, its ended threads included, in steps of 10 ms."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def of_server(postmaster_pid: int) -> float:
    """Return the core seconds of a PostgreSQL server, its ended processes included.

    Ended processes count with their parent.
    """
    postmaster = psutil.Process(postmaster_pid)
    times = [postmaster.cpu_times()]
    for child in postmaster.children():
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:
            continue
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(each.user + each.system for each in times))
