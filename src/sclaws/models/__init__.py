"""What learns from cells."""
