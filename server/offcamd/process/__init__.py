"""The daemon as a process: its lock, its launch, its log, its health, its exit codes."""
