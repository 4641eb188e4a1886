"""The master account: the portfolio that holds money and trades nothing; all that is allocated goes through it."""

#: Its id.
MASTER = "0"
