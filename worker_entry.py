"""The GitLab worker daemon: argv and environment in, exit code out; wires adapters, decides nothing."""
