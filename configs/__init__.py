"""Run configs that work as they stand."""
