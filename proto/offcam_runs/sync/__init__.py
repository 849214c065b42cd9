"""What is sent of a run to where people look at their trainings: how far it came, and the process that does it."""
