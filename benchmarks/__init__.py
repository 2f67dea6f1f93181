"""Benchmarks of the Taylor engine against its rivals: ``python -m benchmarks`` (``make bench``)."""
