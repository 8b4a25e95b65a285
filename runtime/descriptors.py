"""The limit of open files of this process."""

from __future__ import annotations

import resource

from runtime.logs import get_logger

UNLIMITED_MEANS = 1_048_576  # the hard limit to assume if the system has none


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit to `wanted`, as far as the hard limit allows, and return it.

    Logs `descriptors_short` if it stays below `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = UNLIMITED_MEANS if hard == resource.RLIM_INFINITY else hard
    limit = max(soft, min(possible, wanted)) if soft != resource.RLIM_INFINITY else possible
    if limit != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < wanted:
        get_logger("service").warning(
            "descriptors_short",
            limit=limit,
            wanted=wanted,
            remedy="raise the limit of open files (ulimit -n, LimitNOFILE), "
            "or lower LASTHEARD_HTTP_MAX_CONNECTIONS",
        )
    return limit
