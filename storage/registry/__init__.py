"""The configuration: what commands on workspaces, connections and devices write and read."""
