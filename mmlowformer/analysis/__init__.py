"""Looking at trainings and at trained networks."""
