"""Arrays in, Plotly figures out. Pure functions; `style` holds the colours."""
