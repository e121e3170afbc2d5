"""A batch whose recordings another machine transcribes: everything that knows a controller."""
