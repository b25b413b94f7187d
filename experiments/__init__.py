"""The searches and tables that the docs show, each made again by a command."""
