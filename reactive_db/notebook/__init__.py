"""The notebook: live cells and live displays. The only place that knows Jupyter."""
