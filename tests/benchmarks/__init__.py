"""The pure parts of the benchmarks: models, verification, judgement, and the mutants' places."""
