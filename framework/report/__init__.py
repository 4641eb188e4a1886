"""What a run leaves: metrics, the CSV set, the tear sheet."""
