"""Training of small models that Kinglet runs unconverted. A tool beside the library: nothing in Kinglet depends on it."""
