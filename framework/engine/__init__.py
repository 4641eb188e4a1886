"""What makes decisions happen: schedules, the simulator, the backtest."""
