"""The wrappers for single envs, with the names and arguments of those in `gymnasium.wrappers`."""
