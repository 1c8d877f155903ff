"""What safety costs: the same work with other settings of the server and other options of the library."""
