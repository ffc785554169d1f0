"""Voices and ears side by side: ``python -m benchmarks.bindings``. The folders are other benchmarks' backends."""
