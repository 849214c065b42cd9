"""One env's stream: its clips, episodes, steps and journal."""
