"""A faster reader of the declarative connector, used where its contract holds."""
