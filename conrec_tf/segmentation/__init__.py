"""Segmentation: a network learns the class of each pixel from masks; from files to the report."""
