"""Every exception that this package raises on purpose.

::

    EngineError                      exit 1
    ├── ConfigError                  exit 2   a run config, a --set, or a parameter is wrong
    ├── UsageError                   exit 2   a command was called wrongly
    ├── PluginError                  exit 2   a plugin is missing, broken, or named twice
    ├── NotBuiltYet                  exit 2   a documented part that this version does not have
    ├── DatabaseError                exit 1
    │   ├── DatabaseUnavailable      exit 1   down, refused, or gone in the middle
    │   ├── DatabaseConflict         exit 1   two transactions got in each other's way; doing it again helps
    │   ├── DatabaseBusy             exit 1   a lock held for too long, or no room; it goes on later
    │   ├── DatabaseNotReady         exit 2   too old, read-only, or not upgraded
    │   ├── MigrationError           exit 1   a migration failed, or a file of one has changed
    │   ├── EmbeddedServerError      exit 1   the embedded server cannot start or be reached
    │   ├── PoolTimeout              exit 1   no connection came free in time
    │   └── PoolClosed               exit 1
    ├── DataError                    exit 1   market data is missing or unusable
    │   └── SourceError              exit 1   a data source failed (file, column, HTTP)
    │       ├── SourceUnavailable    exit 1   no answer, or it asked to wait; trying again may help
    │       └── TickerUnavailable    exit 1   it does not know this ticker, or the plan does not have it
    ├── BookingError                 exit 1   a booking was refused; nothing of it is in the books
    │   ├── IdempotencyConflict      exit 1   its key is booked with other content
    │   ├── InsufficientCash         exit 1   a withdrawal or transfer would leave free cash below zero
    │   └── PortfolioMismatch        exit 2   the books belong to another mode, broker, account or currency
    ├── AllocationError              exit 1   an allocator raised or asked for too much, or a price is missing
    ├── LeaseLost                    exit 1   another engine has taken the portfolio or the account
    ├── RiskRuleError                exit 1   a risk rule raised or asked for something that cannot be; nothing was sent
    ├── BrokerError                  exit 1   a broker refused or failed
    │   ├── BrokerUnavailable        exit 1   no answer: what was asked may have happened or not
    │   ├── OrderRejected            exit 1   the broker will not take this order
    │   └── DuplicateOrder           exit 1   the broker has an order of this id already
    └── StrategyError                exit 1   a strategy raised or returned something unusable
        ├── LookaheadError           exit 1   its decisions change with the future
        └── ParityError              exit 1   a replay does not end as the backtest did

A message says what was wrong, where, the value, what is allowed, and what to do. It is shown to the user as it
stands, so it never holds a secret.
"""

__all__ = [
    "AllocationError",
    "BookingError",
    "BrokerError",
    "BrokerUnavailable",
    "ConfigError",
    "DataError",
    "DatabaseBusy",
    "DatabaseConflict",
    "DatabaseError",
    "DatabaseNotReady",
    "DatabaseUnavailable",
    "DuplicateOrder",
    "EmbeddedServerError",
    "EngineError",
    "IdempotencyConflict",
    "InsufficientCash",
    "LeaseLost",
    "LookaheadError",
    "MigrationError",
    "NotBuiltYet",
    "OrderRejected",
    "ParityError",
    "PluginError",
    "PoolClosed",
    "PoolTimeout",
    "PortfolioMismatch",
    "RiskRuleError",
    "SourceError",
    "SourceUnavailable",
    "StrategyError",
    "TickerUnavailable",
    "UsageError",
]


class EngineError(Exception):
    """Base of all errors that a user is meant to read; the command line prints it as one short paragraph."""

    #: Exit status of the command that ends with this error (1: the work failed, 2: bad usage or config).
    exit_code: int = 1


class ConfigError(EngineError):
    """A run config, an override or a plugin parameter is wrong."""

    exit_code = 2


class UsageError(EngineError):
    """A command was called in a way that cannot work."""

    exit_code = 2


class PluginError(EngineError):
    """A plugin is missing, failed to load, breaks its contract, or shares its name with another."""

    exit_code = 2


class NotBuiltYet(EngineError):
    """The config or command asks for a documented part that this version does not have yet."""

    exit_code = 2


class DatabaseError(EngineError):
    """The database refused or failed a statement."""


class DatabaseUnavailable(DatabaseError):
    """The server cannot be reached, or the connection was lost and retrying did not help."""


class DatabaseConflict(DatabaseError):
    """A deadlock or a serialization failure: the server rolled this transaction back in favour of another."""


class DatabaseBusy(DatabaseError):
    """The server cannot do it at this moment: somebody holds a lock for too long, or it has run out of room."""


class DatabaseNotReady(DatabaseError):
    """The server is reachable but cannot be used as it is: too old, read-only, or not upgraded."""

    exit_code = 2


class MigrationError(DatabaseError):
    """A migration failed, or the file of one that has run was changed afterwards."""


class EmbeddedServerError(DatabaseError):
    """The embedded server cannot be installed, started, reached or stopped."""


class PoolTimeout(DatabaseError):
    """No connection came free within the pool's timeout; the message names who holds them."""


class PoolClosed(DatabaseError):
    """A connection was asked of a pool that is closed."""


class DataError(EngineError):
    """Market data is missing, empty or unusable for what was asked."""


class SourceError(DataError):
    """A data source failed: a file, a column, a value, or a reply."""


class SourceUnavailable(SourceError):
    """A data source did not answer, or asked to wait; trying again may help.

    Args:
        text: the message.
        wait_seconds: how long nobody should ask; 0: as the caller likes.
    """

    def __init__(self, text: str, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


class TickerUnavailable(SourceError):
    """A data source does not know a ticker, or the plan does not include it; others can be asked for."""


class BookingError(EngineError):
    """A booking was refused, by name; nothing of it is in the books."""


class IdempotencyConflict(BookingError):
    """The key is in the books with other content; the message shows both."""


class InsufficientCash(BookingError):
    """A withdrawal or transfer would leave free cash below zero. Facts (fills, fees, …) are never refused so."""


class PortfolioMismatch(BookingError):
    """A portfolio's books belong to another mode, broker, account or currency than asked for."""

    exit_code = 2


class AllocationError(EngineError):
    """An allocation cannot be made: the allocator failed or wants too much, or a price is missing; no money moved."""


class LeaseLost(EngineError):
    """The lease under which something was to be written is not held any more; nothing was written."""


class RiskRuleError(EngineError):
    """A risk rule raised or asked for something that cannot be; no order of that decision is sent."""


class BrokerError(EngineError):
    """A broker refused or failed."""


class BrokerUnavailable(BrokerError):
    """The broker gave no answer; what was asked of it may have happened or not."""


class OrderRejected(BrokerError):
    """The broker will not take this order; the message is its reason."""


class DuplicateOrder(BrokerError):
    """The broker has an order of this id already."""


class StrategyError(EngineError):
    """A strategy raised, or returned something that cannot be used; names bar and strategy."""


class LookaheadError(StrategyError):
    """A strategy's decisions change when the future is cut off or changed; names bar and ticker."""


class ParityError(StrategyError):
    """A replay through the books does not end as the backtest did; names the first difference."""
