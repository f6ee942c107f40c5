"""The alpha model: features, labels, training, artifacts and scoring."""
