"""Text as data: normal forms and error rates, for any script."""
