"""OUTCOMES -> LAWS: points of loss against data and size, the shapes fitted to them, forecasts."""
