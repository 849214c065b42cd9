"""Videos made of a run's videos: parts of one, several side by side or one after the other, animations."""
