"""What a run says of how its episodes are replayed, and how a process is started and asked to replay them."""
