"""The user's own network: made by their code, changed by the arms, trained along the trial axis."""
