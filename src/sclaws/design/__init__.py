"""Fitted law × prices -> plan: what limits the model, what to buy, what to run next."""
