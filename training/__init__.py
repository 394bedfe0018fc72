"""Training and measuring the bundled pair, and writing its tasks and cards. No user of the dashboard runs this."""
