"""The pages: they read results, submit jobs and draw. No maths, no torch."""
