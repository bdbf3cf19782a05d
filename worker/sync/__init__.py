"""The engine: what to ask, in which order, and what each answer means; knows only ports and records."""
