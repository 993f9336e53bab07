"""The tills' HTTP: parse, one call, render. No rules and no SQL."""
