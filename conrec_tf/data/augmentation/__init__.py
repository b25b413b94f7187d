"""Changes of an image before the network sees it, as pure functions of (image, seed)."""
