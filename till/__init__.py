"""The reference till: finds its box, sells two ways, and keeps its own copy of each sale until the cloud holds it."""
