"""General machinery: supervision, mailboxes, timers, clocks, settings, logs, shutdown.

Nothing in this package knows the domain.
"""
