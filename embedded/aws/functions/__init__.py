"""Lambda: functions, their code, and the processes that run their handlers."""
