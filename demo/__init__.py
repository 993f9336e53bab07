"""A whole shop on one desk: head office, a box, tills that sell, and a line between them that can be cut."""
