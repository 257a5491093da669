"""The Curious Case of Neural Text Degeneration (1904.09751)."""
