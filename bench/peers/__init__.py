"""What a user would pick instead: the same workloads on other systems, each from a virtual environment of its own."""
