"""What actors/ and api/ need from the outside: protocols, their values and their exceptions.

Nothing here does anything. storage/ and providers/ fulfil most protocols, actors/ the rest. Unless
its docstring says otherwise, every method may raise `runtime.faults.EnvironmentFault` (the database
is away, the provider failed) and has its own deadline inside, so callers need none.
"""
