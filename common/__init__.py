"""What every room may use: files, arrays, progress, signals, the machine's description."""
