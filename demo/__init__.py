"""The product on real speech, in a few minutes, on an embedded GitLab: `make demo`."""
