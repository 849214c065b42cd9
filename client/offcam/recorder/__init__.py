"""One env's stream: its clips, its episodes and its frames."""
