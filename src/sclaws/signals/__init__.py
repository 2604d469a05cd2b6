"""What an embedding should know about: labels, quantities, proteins."""
