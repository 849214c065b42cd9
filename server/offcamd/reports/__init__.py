"""What is made from runs: verifications, exports, figures, renderings."""
