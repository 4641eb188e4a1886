"""Servers that stand in for those of others: processes of their own on loopback, faithful to what is known of them."""
