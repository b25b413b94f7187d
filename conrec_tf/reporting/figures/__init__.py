"""The figures of a report, drawn with matplotlib from arrays alone, as PNG and SVG in a folder."""
