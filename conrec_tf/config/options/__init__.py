"""Every option once, in sections: its name, default, range and explanation."""
