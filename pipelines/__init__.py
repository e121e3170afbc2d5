"""Speech skills: paths, arrays and tensors in, dataclasses out; never heard of jobs or GitLab."""
