"""What is made from a run: verification, exports, figures."""
