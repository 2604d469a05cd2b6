"""Where the work runs: this process, or several. One member a file."""
