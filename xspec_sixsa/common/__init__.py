"""What every room stands on: files, seeds, progress, the observation, XSPEC's fit statistics."""
