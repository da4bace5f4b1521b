"""What commands show: results of the library in lines and tables."""
