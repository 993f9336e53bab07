"""Tables to domain types and back. All SQL of the box lives here."""
