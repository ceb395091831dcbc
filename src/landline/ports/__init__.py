"""What services need from outside, each a Protocol whose docstring states the guarantees callers may rely on."""
