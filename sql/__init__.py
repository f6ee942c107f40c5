"""What we record: the Postgres ledger, its tables, functions, migrations and audit chain."""
