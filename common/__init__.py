"""What every room may use: files, machine figures, progress, arrays."""
