"""Write what people look at: lines in a terminal, and pages."""
