"""What is made from a result: derived quantities, predictions, pictures, reports, diagnoses, calibration."""
