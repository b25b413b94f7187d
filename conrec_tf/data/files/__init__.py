"""Files in folders and archives: which there are, what is known of them, their labels."""
