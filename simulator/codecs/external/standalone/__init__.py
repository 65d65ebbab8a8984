"""What an external worker may import: nothing here needs torch or jscclink."""
