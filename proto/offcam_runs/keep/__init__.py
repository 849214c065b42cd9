"""Which episodes' videos are kept: rules, how they travel, and the judge of a run's episodes by one of them."""
