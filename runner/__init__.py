"""How work is executed: child processes, their frames, their end; knows no job and no model."""
