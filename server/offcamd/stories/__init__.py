"""What is told of runs by their videos: parts of one, several side by side, one behind the other, animations."""
