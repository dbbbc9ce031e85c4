"""Results in files: self-describing HDF5 that netCDF-4 readers open too."""
