"""Pure rules. No async, no I/O, no clock: time and chance are arguments."""
