"""Steps of episodes, as tables of rows: how a row lies in memory, on the wire and on the disk."""
