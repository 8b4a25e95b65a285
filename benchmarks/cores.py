"""Core seconds, user and system, of processes that run.

Rates quantise with the machine's other work; core time hardly depends on it.
"""

from __future__ import annotations

import psutil


def of_process(pid: int) -> float:
    """Of one process, its ended threads included; to the kernel's 10 ms."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def of_server(postmaster_pid: int) -> float:
    """Of PostgreSQL: all its living processes; those that ended count with their parent."""
    postmaster = psutil.Process(postmaster_pid)
    times = [postmaster.cpu_times()]
    for child in postmaster.children():
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:
            continue
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(each.user + each.system for each in times))
