"""What everything stands on: models, tables, database, errors. Imports no other room."""
