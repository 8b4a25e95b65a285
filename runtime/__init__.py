"""Machinery that knows no domain word: supervision, mailboxes, timers, clocks, settings, logs, shutdown."""
