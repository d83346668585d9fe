"""The schema, step by step. ``Database.upgrade`` runs these; nothing else does."""
