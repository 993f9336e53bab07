"""A shop's network turned hostile, while its tills go on selling."""
