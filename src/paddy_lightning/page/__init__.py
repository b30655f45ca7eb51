"""A page for the phone: from an exported network to a folder of static files."""
