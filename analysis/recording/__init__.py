"""Recording attention over a denoising trajectory."""
