"""Market data on its way in: sources, loading, quality, adjustment, calendars."""
