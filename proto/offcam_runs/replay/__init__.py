"""What a run says of how its episodes happen again, and how a process is started and asked that has them do so."""
