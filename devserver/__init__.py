"""An embedded GitLab for demos and tests; depends on nothing of ours, and the product never imports it."""
