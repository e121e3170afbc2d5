"""The third front door: the worker's and the controller's HTTP sides of the same stages that a batch runs."""
