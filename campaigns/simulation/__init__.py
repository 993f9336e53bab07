"""A whole shop in one process and in virtual time: box, tills, line, head office, clock and card, all from one seed."""
