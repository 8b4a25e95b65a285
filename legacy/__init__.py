"""The customer's legacy system: how it is asked, and how its answers become ours.

Its HTTP shape is configuration, not code (docs/cutover.md). This folder compiles that
configuration, calls the system, and maps its answers. It knows no workspace's flags and stores
nothing.
"""
