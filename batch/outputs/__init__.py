"""The files that a recording becomes: written, made again, and what is done with them afterwards."""
