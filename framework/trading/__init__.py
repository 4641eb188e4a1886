"""Pure decisions shared by every mode: strategies, indicators, sizing, costs. No I/O, no clock."""
