"""What can be made scarce: cells, depth, genes, signal over noise. One member a file."""
