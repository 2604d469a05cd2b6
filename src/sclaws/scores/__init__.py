"""How much an embedding knows, in bits, with an interval. One member a file."""
