"""Claims about batch normalization that are exact: measurements that hold or fail, most of them to rounding."""
