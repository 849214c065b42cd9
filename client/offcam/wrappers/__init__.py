"""The wrappers for single envs: the twins of `gymnasium.wrappers`."""
