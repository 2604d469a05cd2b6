"""Where cells come from: files, and simulations whose truth is known."""
