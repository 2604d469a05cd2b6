"""Formulas with named parameters that say how much is known at which scale. One member a file."""
