"""Champions: who serves which style, on what evidence, and what it replaced."""
