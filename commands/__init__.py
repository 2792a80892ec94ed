"""Groups of commands: one module for each word that stands before a command."""
