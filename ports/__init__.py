"""Protocols, values and exceptions of what actors/ and api/ need from the outside.

Nothing here does anything. storage/ and providers/ fulfil most protocols, actors/ the rest. Unless
its docstring says otherwise, every method may raise `runtime.faults.EnvironmentFault` (the database
is away, the provider failed) and has its own deadline inside, so callers need none.
"""
