"""The only code that speaks to PostgreSQL."""
