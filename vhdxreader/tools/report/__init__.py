"""Pages for people: HTML that needs nothing but itself, no script, no network."""
