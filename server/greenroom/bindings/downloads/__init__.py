"""Weights of models: what ``models.yaml`` offers, fetched into ``models/<binding>/``, checked, and removed again."""
