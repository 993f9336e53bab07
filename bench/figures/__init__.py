"""One module per figure: `measure()` runs product and limit in turns and gives rows of the table."""
