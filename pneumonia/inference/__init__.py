"""A bundle at work: engine, input check, and the predictor from radiograph to prediction; without torch."""
