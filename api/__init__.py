"""The HTTP API: one file per resource. Reads and commands; decides nothing about health itself."""
