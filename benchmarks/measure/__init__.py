"""What is measured, one figure or one kind of subject a file."""
