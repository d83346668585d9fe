"""What everything stands on: models, tables, database, errors. Imports nothing of ours."""
