"""SQL of the engine: numbered migrations and named queries."""
